"""Code that must type-check, and the types that checkers must see in it."""

from concurrent.futures import Future
from typing import Literal, assert_type

import reactive_db as rdb


class Message(rdb.Document, table="typed_messages", indexes={"by_channel": ["channel"]}):
    channel: str
    body: str
    kind: Literal["text", "image"] = "text"
    reply_to: rdb.Id["Message"] | None = None


@rdb.query
def list_messages(ctx: rdb.QueryCtx, channel: str, limit: int = 50) -> list[Message]:
    found = ctx.db.query(Message).with_index("by_channel", channel=channel).order("desc")
    assert_type(found.first(), Message | None)
    assert_type(found.paginate(None, 10).items, list[Message])
    return found.filter(lambda message: message.kind == "text").take(limit)


@rdb.mutation
def send(ctx: rdb.MutationCtx, channel: str, body: str) -> rdb.Id[Message]:
    earlier = list_messages(ctx, channel)
    id = ctx.db.insert(Message(channel, body, reply_to=earlier[0].id if earlier else None))
    assert_type(id, rdb.Id[Message])
    assert_type(ctx.db.get(id), Message | None)
    ctx.db.patch(id, body="edited")
    return id


@send.optimistic
def show_sent(ctx: rdb.MutationCtx, channel: str, body: str) -> None:
    ctx.db.insert(Message(channel, body + " …"))


@rdb.query(internal=True)
def count(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Message).count()


@rdb.action
def announce(ctx: rdb.ActionCtx, body: str) -> int:
    assert_type(ctx.run_mutation(send, "news", body), rdb.Id[Message])
    return ctx.run_query(count)


@rdb.action
async def announce_later(ctx: rdb.ActionCtx, body: str) -> str:
    return body


db = rdb.connect()
assert_type(db.run(send, "general", "hello"), rdb.Id[Message])
assert_type(db.run(send, channel="general", body="hello"), rdb.Id[Message])
assert_type(db.run(list_messages, "general", limit=3), list[Message])
assert_type(db.run(announce, "hello"), int)
assert_type(db.submit(send, "general", "hello"), Future[rdb.Id[Message]])
assert_type(db.run(announce_later, "hello"), str)
assert_type(db.live(list_messages, "general").value, list[Message])
assert_type(db.live(count).value, int)
assert_type(db.live("SELECT 1", throttle=0.5).value, rdb.SqlResult)
assert_type(db.run(list_messages, "general")[0].id, rdb.Id[Message])
assert_type(db.run(list_messages, "general")[0].creation_time, float)
assert_type(db.load(Message, []), int)
