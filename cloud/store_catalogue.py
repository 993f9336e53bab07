"""The books of articles: their state now, and the version that last changed each.

Publishing runs in the command line's own process and reading a whole catalogue in a thread: both take plain
connections and stream, so that memory stays flat at 100,000 articles.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article
from appliance.domain.errors import BadInput
from cloud.database import alone, plain_connection
from cloud.tables import article, catalogue

# Articles handled at once: some 400 KB.
PAGE = 2_000

# The catalogue that comes in, beside the one that stands; gone with the connection.
_staged = Table(
    "staged_article",
    MetaData(),
    Column("article_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("staged_article_by_id", "article_id"),
    prefixes=["TEMPORARY"],
)
_decoder = msgspec.json.Decoder(Article)


class Published(msgspec.Struct, frozen=True):
    """What a publication did. When nothing differed, `version` is the one that stood already."""

    version: int
    articles: int
    changed: int
    deleted: int


_newest = select(func.coalesce(func.max(catalogue.c.version), 0))


def publish(path: Path, articles: Iterable[Article], *, origin: str, at: str) -> Published:
    """Make these articles the catalogue: new and changed ones get a new version, missing ones become tombstones.

    All or nothing, and durable when this returns. Other writers wait only while what differs is taken over, not
    while the articles are read. Blocks. Raises BadInput when an article stands twice, or when there is none at all
    (an empty file must not empty every shop).
    """
    with plain_connection(path) as connection:
        with connection.begin():
            count = _stage(connection, articles)
        with alone(path), connection.begin():
            current = connection.scalar(_newest) or 0
            changed = _take_over(connection, current + 1)
            deleted = _bury_missing(connection, current + 1)
            if changed + deleted == 0:
                return Published(current, count, 0, 0)
            row = {"version": current + 1, "at": at, "origin": origin, "changed": changed, "deleted": deleted}
            connection.execute(insert(catalogue), row)
            return Published(current + 1, count, changed, deleted)


def _stage(connection: Connection, articles: Iterable[Article]) -> int:
    _staged.create(connection)
    count = 0
    live = ({"article_id": a.article_id, "body": canonical(a)} for a in articles if not a.deleted)
    while rows := list(islice(live, PAGE)):
        connection.execute(insert(_staged), rows)
        count += len(rows)
    if count == 0:
        raise BadInput("the catalogue holds no article")
    twice = select(_staged.c.article_id).group_by(_staged.c.article_id).having(func.count() > 1).limit(1)
    if (article_id := connection.scalar(twice)) is not None:
        raise BadInput(f"article {article_id} stands twice in the catalogue")
    return count


def _take_over(connection: Connection, version: int) -> int:
    differs = exists().where(_staged.c.article_id == article.c.article_id, _staged.c.body != article.c.body)
    connection.execute(delete(article).where(differs))
    missing = select(_staged.c.article_id, literal(version), literal(False), _staged.c.body).where(
        ~exists().where(article.c.article_id == _staged.c.article_id)
    )
    done = connection.execute(
        insert(article).from_select(["article_id", "version", "deleted", "body"], missing)
    )
    return done.rowcount


def _bury_missing(connection: Connection, version: int) -> int:
    gone = (
        select(article.c.article_id, article.c.body)
        .where(~article.c.deleted, ~exists().where(_staged.c.article_id == article.c.article_id))
        .order_by(article.c.article_id)
    )
    bury = (
        update(article)
        .where(article.c.article_id == bindparam("id"))
        .values(version=version, deleted=True, body=bindparam("tombstone"))
    )
    count, after = 0, ""
    while rows := connection.execute(gone.where(article.c.article_id > after).limit(PAGE)).all():
        dead = [{"id": row.article_id, "tombstone": _tombstone(row.body)} for row in rows]
        connection.execute(bury, dead)
        count, after = count + len(rows), rows[-1].article_id
    return count


def _tombstone(body: bytes) -> bytes:
    return canonical(msgspec.structs.replace(_decoder.decode(body), deleted=True))


async def version_in_force(connection: AsyncConnection) -> int:
    """The newest version; 0 before the first publication."""
    return await connection.scalar(_newest) or 0


def version_now(connection: Connection) -> int:
    """The same, for a plain connection."""
    return connection.scalar(_newest) or 0


def blocks(connection: Connection, since: int | None) -> Iterator[bytes]:
    """Every live article (None), or all that changed after a version, tombstones too: lines, by article id."""
    query = select(article.c.body).order_by(article.c.article_id).execution_options(yield_per=PAGE)
    query = query.where(~article.c.deleted) if since is None else query.where(article.c.version > since)
    for page in connection.scalars(query).partitions():
        yield b"".join(body + b"\n" for body in page)
