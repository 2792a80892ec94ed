"""The tables of the books.

Two kinds. **Append-only** rows are the record: the database refuses to change them, and
every one is covered by a link of the hash chain. **Mutable** rows are queues, locks, keys
and the projection of the events that lists are read from.

Amounts are whole minor units beside their currency; instants are the fixed-width UTC text
of :func:`domain.canonical.instant`, so that text order is time order on both databases;
structured values are canonical JSON text, so that what is hashed is what is stored.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

INSTANT = String(27)
HASH = String(64)
CURRENCY = String(3)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def required(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind, nullable=False)


# --- append-only -------------------------------------------------------------------------

case_events = Table(
    "case_events",
    metadata,
    Column("id", Text, primary_key=True),  # "{case_id}:{step}"
    required("case_id", Text),
    required("step", Text),
    required("ordinal", Integer),  # 1, 2, 3 … within the case
    required("kind", Text),
    required("occurred_at", INSTANT),
    required("actor_id", Text),
    required("actor_role", Text),
    required("body", Text),
    required("policy", Text),
    required("policy_version", Integer),
    required("policy_hash", Text),
    required("workflow_id", Text),
    required("run_id", Text),
    required("recorded_at", INSTANT),
    UniqueConstraint("case_id", "step"),
    UniqueConstraint("case_id", "ordinal"),
)

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("id", Text, primary_key=True),  # "{case_id}:{step}"
    required("case_id", Text),
    required("step", Text),
    required("kind", Text),
    required("provider_id", Text),
    required("at", INSTANT),
    required("recorded_at", INSTANT),
    UniqueConstraint("case_id", "step"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("transaction_id", Text, ForeignKey("ledger_transactions.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    required("account", Text),
    required("amount_minor", BigInteger),
    required("currency", CURRENCY),
    Index(None, "account", "currency"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),  # "{case_id}:{slot}"
    required("case_id", Text),
    required("slot", Text),
    required("verdict", Text),
    required("actor_id", Text),
    required("actor_role", Text),
    required("digest", HASH),
    required("amount_minor", BigInteger),
    required("currency", CURRENCY),
    required("policy_hash", Text),
    required("signature_json", Text),
    required("note", Text),
    required("at", INSTANT),
    required("recorded_at", INSTANT),
    UniqueConstraint("case_id", "slot"),
    Index(None, "actor_id", "at"),
)

refused_attempts = Table(
    "refused_attempts",
    metadata,
    Column("id", Text, primary_key=True),  # hash of the attempt: a repeat is the same row
    required("case_id", Text),
    required("action", Text),
    Column("actor_id", Text),
    Column("actor_role", Text),
    required("code", Text),
    required("message", Text),
    required("request_id", Text),
    required("at", INSTANT),
    required("recorded_at", INSTANT),
    Index(None, "case_id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),  # "{case_id}:{step}"
    required("case_id", Text),
    required("step", Text),
    required("policy", Text),
    required("policy_version", Integer),
    required("policy_hash", HASH),
    required("rule", Text),
    required("decision", Text),
    required("outcome", Text),
    required("at", INSTANT),
    required("recorded_at", INSTANT),
    UniqueConstraint("case_id", "step"),
)

policy_contents = Table(
    "policy_contents",
    metadata,
    Column("id", HASH, primary_key=True),  # SHA-256 of the content's UTF-8 bytes
    required("policy", Text),
    required("version", Integer),
    required("content", Text),
    required("recorded_at", INSTANT),
)

archives = Table(
    "archives",
    metadata,
    Column("id", Text, primary_key=True),  # "{workflow_id}:{run_id}"
    required("case_id", Text),
    required("workflow_id", Text),
    required("run_id", Text),
    required("file", Text),
    required("sha256", HASH),
    required("size_bytes", BigInteger),
    required("at", INSTANT),
    required("recorded_at", INSTANT),
    Index(None, "case_id"),
)

chain_links = Table(
    "chain_links",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # gapless from 1
    required("entry_table", Text),
    required("entry_id", Text),
    required("entry_hash", HASH),
    required("prev_hash", HASH),
    required("hash", HASH),
    UniqueConstraint("entry_table", "entry_id"),
)

# --- mutable -----------------------------------------------------------------------------

cases = Table(
    "cases",
    metadata,
    Column("case_id", Text, primary_key=True),
    required("kind", Text),
    required("request_id", Text),
    required("customer", Text),
    required("charge", Text),
    required("currency", CURRENCY),
    Column("amount_minor", BigInteger),
    required("reason", Text),
    required("status", Text),
    Column("outcome", Text),
    required("waits_for", Text),
    Column("due_at", INSTANT),
    Column("expected_from", String(10)),
    Column("expected_to", String(10)),
    required("desk", Text),
    required("priority", Text),
    required("assignee", Text),
    required("language", Text),
    required("jurisdiction", Text),
    required("policy", Text),
    required("policy_version", Integer),
    required("policy_hash", Text),
    required("rule", Text),
    required("reason_key", Text),
    required("method", Text),
    required("provider_id", Text),
    required("digest", Text),
    required("opened_at", INSTANT),
    Column("closed_at", INSTANT),
    Column("business_key", Text),
    Column("channel", Text),
    Column("first_response_due", INSTANT),
    Column("first_responded_at", INSTANT),
    Column("appeal_of", Text),
    Column("alternative_to", Text),
    required("events", Integer),  # how many events the row is the fold of
    Index(None, "customer"),
    Index(None, "charge"),
    Index(None, "provider_id"),
    Index(None, "status", "due_at"),
)

Index(
    "one_open_case_per_thing",
    cases.c.kind,
    cases.c.business_key,
    unique=True,
    sqlite_where=text("status <> 'closed' AND business_key IS NOT NULL"),
    postgresql_where=text("status <> 'closed' AND business_key IS NOT NULL"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    required("kind", Text),
    required("body_hash", HASH),
    required("case_id", Text),
    required("customer", Text),
    required("created_at", INSTANT),
    Index(None, "case_id"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("event_id", Text, primary_key=True),
    required("event_type", Text),
    required("object_ids", Text),
    required("received_at", INSTANT),
    required("state", Text),
    Index(None, "state"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    required("case_id", Text),
    required("topic", Text),
    required("key", Text),
    required("body", Text),
    required("created_at", INSTANT),
    Column("sent_at", INSTANT),
    required("attempts", Integer),
    required("next_try_at", INSTANT),
    UniqueConstraint("key"),
    Index(None, "sent_at", "next_try_at"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    required("key", Text),
    required("amount_minor", BigInteger),
    required("currency", CURRENCY),
    required("state", Text),
    required("at", INSTANT),
    Index(None, "scope", "key", "currency"),
)

lock_rows = Table("lock_rows", metadata, Column("id", Text, primary_key=True))

customer_keys = Table(
    "customer_keys",
    metadata,
    Column("id", Text, primary_key=True),
    required("customer", Text),
    required("generation", Integer),
    Column("wrapped", Text),  # NULL once destroyed
    required("created_at", INSTANT),
    Column("destroyed_at", INSTANT),
    UniqueConstraint("customer", "generation"),
)

chain_head = Table(
    "chain_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    required("seq", BigInteger),
    required("hash", HASH),
)

CHAINED = (
    case_events,
    ledger_transactions,
    approvals,
    refused_attempts,
    decisions,
    policy_contents,
    archives,
)
"""Tables whose every row has one link; entries are covered by their transaction's hash."""

APPEND_ONLY = (*CHAINED, ledger_entries, chain_links)
MUTABLE = (
    cases,
    requests,
    inbox,
    outbox,
    reservations,
    lock_rows,
    customer_keys,
    chain_head,
)
