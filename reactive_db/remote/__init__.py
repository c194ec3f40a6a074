"""Reaching a store on a server: where it is, who we are, and the socket that outlives disconnects."""
