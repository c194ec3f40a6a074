"""The systems reactive_db is measured beside, one module each; none of them imports reactive_db."""
