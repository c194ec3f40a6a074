"""Code that must not type-check: each line that ends in `# error` is one that mypy and pyright refuse."""

import reactive_db as rdb


class Message(rdb.Document, table="mistyped_messages"):
    channel: str
    body: str


class Author(rdb.Document, table="mistyped_authors"):
    name: str


@rdb.query
def list_messages(ctx: rdb.QueryCtx, channel: str) -> list[Message]:
    ctx.db.insert(Message("general", "hello"))  # error
    return ctx.db.query(Message).collect()


@rdb.mutation
def send(ctx: rdb.MutationCtx, channel: str, body: str) -> rdb.Id[Message]:
    message = Message(channel=channel, boddy=body)  # error
    message.body = "changed"  # error
    return ctx.db.insert(Author("ada"))  # error


@send.optimistic  # error
def show_sent(ctx: rdb.MutationCtx, channel: str) -> None:
    ctx.db.insert(Message(channel, ""))


@rdb.query
def author_of(ctx: rdb.QueryCtx, id: rdb.Id[Message]) -> Author | None:
    return ctx.db.get(id)  # error


db = rdb.connect()
db.run(send, "general")  # error
db.run(send, "general", 42)  # error
db.submit(send, "general", 42)  # error
db.submit(list_messages, "general")  # error
db.run(send, "general", text="hello")  # error
db.run(list_messages, "general")[0].boddy  # error
db.run(list_messages)  # error
db.live(list_messages, 42)  # error
db.live(send, "general", "hello")  # error
name: str = db.live(list_messages, "general").value  # error
send("general", "hello")  # error
