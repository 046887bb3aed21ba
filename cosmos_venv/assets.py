"""Assets that a dbt invocation has updated and read, named as OpenLineage names them.

Pure: dbt's artifacts and the profile's fields in, URIs out. Airflow 3 wants slashes where OpenLineage has dots.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from cosmos_venv.exceptions import CosmosValueError

Field = Callable[[str], Any]
"""A field of the profile's target by its name; None where the target has no such field."""

_BUILT = ("model.", "seed.", "snapshot.")
_READ = (*_BUILT, "source.")
# The credentials that may stand before a host, or before the path of a remote database.
_USER = re.compile(r"(?<=://)[^/@]*@")
_SPARK_PORTS = {"http": 443, "odbc": 443, "thrift": 10001}

PLAIN_NAMESPACES = {
    "athena": "awsathena://athena.{region_name}.amazonaws.com",
    "bigquery": "bigquery",
    "clickhouse": "clickhouse://{host}:{port|8123}",
    "databricks": "databricks://{host}",
    "dremio": "dremio://{software_host}:{port|443}",
    "postgres": "postgres://{host}:{port|5432}",
    "presto": "presto://{host}:{port|8080}",
    "redshift": "redshift://{host}:{port|5439}",
    "sqlserver": "mssql://{server}:{port|1433}",
    "trino": "trino://{host}:{port|8080}",
    "watsonx_presto": "presto://{host}:{port|8080}",
}
"""The namespace of each adapter. Braces hold a field of the profile; behind a bar follows the adapter's default."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Names of relations, their parts separated by dots.

    :param inlets: what the successful nodes have read.
    :param outlets: what they have written.
    """

    inlets: tuple[str, ...] = ()
    outlets: tuple[str, ...] = ()


class _DependsOn(msgspec.Struct):
    nodes: list[str] | None = None


class _Node(msgspec.Struct):
    name: str
    database: str | None = None
    schema: str | None = None
    alias: str | None = None
    identifier: str | None = None
    depends_on: _DependsOn | None = None
    config: dict[str, Any] | None = None

    @property
    def relation(self) -> str:
        """The name of the relation by OpenLineage, which knows no identifier of a source."""
        return self._in_schema(self.alias or self.name)

    @property
    def table(self) -> str:
        """The name of a source's table in the database, which its ``identifier`` may give."""
        return self._in_schema(self.identifier or self.name)

    def _in_schema(self, name: str) -> str:
        return ".".join(filter(None, (self.database, self.schema, name)))

    @property
    def has_relation(self) -> bool:
        """Whether the node is something in the database."""
        return (self.config or {}).get("materialized") != "ephemeral"


class _Manifest(msgspec.Struct):
    nodes: dict[str, msgspec.Raw]
    sources: dict[str, msgspec.Raw] | None = None

    def node(self, unique_id: str) -> _Node:
        """Return a node, source or seed.

        :param unique_id: as dbt writes it.
        """
        raw = self.nodes.get(unique_id) or (self.sources or {}).get(unique_id)
        if raw is None:
            raise CosmosValueError(
                f"manifest.json has no {unique_id}, which run_results.json, sources.json or one of its nodes names."
            )
        return msgspec.json.decode(raw, type=_Node)


def lineage(statuses: Mapping[str, str], manifest: str) -> Lineage:
    """Return what an invocation has read and written. A node that failed has done neither.

    :param statuses: dbt's status of each node that ran, in this try of the task or an earlier one, by unique id. Nodes
        that the manifest does not know any more are left out.
    :param manifest: text of ``manifest.json``.
    :raises msgspec.DecodeError: when the text is no such artifact.
    :raises CosmosValueError: when the manifest lacks a node that another one reads.
    """
    known = msgspec.json.decode(manifest, type=_Manifest)
    done = [each for each, status in statuses.items() if status == "success" and each.startswith(_BUILT)]
    nodes = [known.node(unique_id) for unique_id in done if unique_id in known.nodes]
    parents = [known.node(unique_id) for node in nodes for unique_id in _parents(node)]
    return Lineage(
        inlets=tuple(dict.fromkeys(node.relation for node in parents if node.has_relation)),
        outlets=tuple(dict.fromkeys(node.relation for node in nodes)),
    )


def tables(sources: Iterable[str], manifest: str) -> list[str]:
    """Return the names of the tables of sources in the database, which ``identifier`` may give.

    :param sources: their unique ids.
    :param manifest: text of ``manifest.json``.
    :raises msgspec.DecodeError: when the text is no such artifact.
    :raises CosmosValueError: when the manifest lacks one of them.
    """
    known = msgspec.json.decode(manifest, type=_Manifest)
    return [known.node(unique_id).table for unique_id in sources]


def _parents(node: _Node) -> Iterator[str]:
    named = (node.depends_on and node.depends_on.nodes) or []
    return (unique_id for unique_id in named if unique_id.startswith(_READ))


def asset_uri(namespace: str, relation: str, *, has_slashes: bool) -> str:
    """Return the URI of a relation: ``postgres://host:5432/db/schema/table``, or with dots behind the port.

    :param namespace: as ``namespace`` returns it.
    :param relation: its name, with dots.
    :param has_slashes: whether slashes stand in the place of dots, as Airflow 3 wants it.
    """
    name = quote(relation)
    # Airflow takes ASCII only, and a database may lie in a folder of any name.
    return f"{quote(namespace, safe=string.printable)}/{name.replace('.', '/') if has_slashes else name}"


def namespace(field: Field) -> str | None:
    """Return where the relations of a profile are, as OpenLineage names it; None where OpenLineage lacks the adapter.

    :param field: returns the value of a field of the profile; None where it has none.
    :raises CosmosValueError: when the profile lacks a field that the name needs.
    """
    adapter = str(field("type")).lower()
    if adapter in _SPECIAL_NAMESPACES:
        where = _SPECIAL_NAMESPACES[adapter](field)
    else:
        template = PLAIN_NAMESPACES.get(adapter)
        where = None if template is None else _filled(template, field)
    return None if where is None else _USER.sub("", where)


def _filled(template: str, field: Field) -> str:
    def value(place: re.Match[str]) -> str:
        return _required(field, place["name"], place["default"])

    return re.sub(r"\{(?P<name>\w+)(?:\|(?P<default>\w+))?\}", value, template)


def _required(field: Field, name: str, default: str | None = None) -> str:
    value = field(name)
    if value in (None, ""):
        value = default
    if value is None:
        raise CosmosValueError(f"the profile's target, of type {field('type')!r}, has no {name!r}")
    return str(value)


def _snowflake(field: Field) -> str:
    """An account's locator is completed by region and cloud; the newer organization-account has neither."""
    parts = _required(field, "account").split(".")
    if "-" in parts[0]:
        return f"snowflake://{parts[0]}"
    region = parts[1] if len(parts) > 1 else "us-west-1"
    return f"snowflake://{'.'.join([parts[0], region, *(parts[2:] or ['aws'])])}"


def _duckdb(field: Field) -> str | None:
    if "=" in str(field("path") or "").partition("?")[0]:
        return None  # the path is the connection string of a remote catalog, perhaps with a password
    # What follows the question mark of a MotherDuck path may be its token.
    return f"duckdb://{_required(field, 'path', ':memory:').partition('?')[0]}"


def _glue(field: Field) -> str:
    _, _, _, _, of_role, *_ = [*str(field("role_arn") or "").split(":"), "", "", "", "", ""]
    account = field("account_id") or of_role
    if not account:
        raise CosmosValueError("the profile's target, of type 'glue', has neither 'account_id' nor a 'role_arn'")
    return f"arn:aws:glue:{_required(field, 'region')}:{account}"


def _fabric(field: Field) -> str:
    port = field("port")
    return f"fabric-warehouse://{_required(field, 'server')}{f':{port}' if port else ''}"


def _spark(field: Field) -> str | None:
    default = _SPARK_PORTS.get(str(field("method")))
    # The method ``session`` runs Spark in the process of dbt, so it has no address.
    return None if default is None else f"spark://{_required(field, 'host')}:{field('port') or default}"


_SPECIAL_NAMESPACES: Mapping[str, Callable[[Field], str | None]] = {
    "duckdb": _duckdb,
    "fabric": _fabric,
    "glue": _glue,
    "snowflake": _snowflake,
    "spark": _spark,
}

ADAPTERS = tuple(sorted({*PLAIN_NAMESPACES, *_SPECIAL_NAMESPACES}))
"""The dbt adapters whose relations are given as assets."""
