"""Writes Blob Inventory reports into Azurite as Azure describes them, of what is really there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet

FIELDS = (
    *("Name", "Creation-Time", "Last-Modified", "Etag", "Content-Length", "BlobType"),
    *("AccessTier", "AccessTierChangeTime", "Metadata", "Deleted", "RemainingRetentionDays"),
    *("Snapshot", "VersionId", "IsCurrentVersion"),
)
MOMENTS = {"Creation-Time", "Last-Modified", "AccessTierChangeTime"}


@dataclass
class Reports:
    """Writes reports about one container into another (or itself)."""

    service: object
    container: str
    destination: str
    account: str = "devstoreaccount1"
    rule: str = "models"
    extra: list[dict] = field(default_factory=list)

    def rows(self, fields=FIELDS) -> list[dict]:
        """Return a row a blob of the container, then the extra ones."""
        client = self.service.get_container_client(self.container)
        found = []
        for blob in client.list_blobs(include=["metadata"]):
            row = {
                "Name": f"{self.container}/{blob.name}",
                "Creation-Time": blob.creation_time,
                "Last-Modified": blob.last_modified,
                "Etag": blob.etag.strip('"'),
                "Content-Length": blob.size,
                "BlobType": "BlockBlob",
                "AccessTier": str(blob.blob_tier or ""),
                "AccessTierChangeTime": blob.blob_tier_change_time,
                "Metadata": json.dumps(blob.metadata) if blob.metadata else "",
            }
            found.append({name: row.get(name, "") for name in fields})
        return found + [{name: row.get(name, "") for name in fields} for row in self.extra]

    def write(
        self,
        kind: str = "csv",
        *,
        files: int = 2,
        taken: datetime | None = None,
        rows: list[dict] | None = None,
        fields=FIELDS,
        finished: bool = True,
        twice: int = 0,
        checksum: str | None = None,
        spoil: dict[str, bytes] | None = None,
        objects: int | None = None,
        **manifest,
    ) -> str:
        """Write one; returns its folder.

        Parameters
        ----------
        twice
            So many rows stand in two files.
        spoil
            Replaces the content of files by their endings.
        manifest
            Replaces members of the manifest, of ``ruleDefinition`` where they are its.
        """
        taken = taken or datetime.now(timezone.utc)
        folder = f"{taken:%Y/%m/%d/%H-%M-%S}/{self.rule}"
        rows = self.rows(fields) if rows is None else list(rows)
        rows = rows + rows[:twice]
        random.Random(7).shuffle(rows)
        client = self.service.get_container_client(self.destination)
        listed = []
        for at in range(files):
            part = rows[at::files]
            content = _csv(part, fields) if kind == "csv" else _parquet(part, fields)
            content = (spoil or {}).get(f"_{at}.{kind}", content)
            name = f"{folder}/{self.rule}_1000000_{at}.{kind}"
            client.upload_blob(name, content)
            listed.append({"blob": name, "size": len(content)})
        rule = {
            "filters": {
                "blobTypes": ["blockBlob", "appendBlob", "pageBlob"],
                "includeBlobVersions": True,
                "includeSnapshots": True,
                "includeDeleted": True,
                "prefixMatch": [self.container],
            },
            "format": kind,
            "objectType": "blob",
            "schedule": "daily",
            "schemaFields": list(fields),
        }
        rule |= {name: manifest.pop(name) for name in list(manifest) if name in rule}
        rule["filters"] |= {
            name: manifest.pop(name)
            for name in ("prefixMatch", "excludePrefix", "blobTypes")
            if name in manifest
        }
        told = {
            "destinationContainer": self.destination,
            "endpoint": f"https://{self.account}.blob.core.windows.net",
            "files": listed,
            "inventoryCompletionTime": _iso(taken + timedelta(minutes=9)),
            "inventoryStartTime": _iso(taken),
            "ruleDefinition": rule,
            "ruleName": self.rule,
            "status": "Succeeded",
            "summary": {
                "objectCount": len(rows) - twice if objects is None else objects,
                "totalObjectSize": sum(int(row["Content-Length"] or 0) for row in rows),
            },
            "version": "1.0",
            **manifest,
        }
        text = json.dumps(told, indent=2).encode()
        client.upload_blob(f"{folder}/{self.rule}-manifest.json", text)
        if finished:
            digest = hashlib.md5(text).hexdigest() if checksum is None else checksum
            client.upload_blob(f"{folder}/{self.rule}-manifest.checksum", digest.encode())
        return folder


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}0Z"


def _csv(rows: list[dict], fields) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: _iso(v) if isinstance(v, datetime) else v for name, v in row.items()}
        )
    return text.getvalue().encode()


def _parquet(rows: list[dict], fields) -> bytes:
    columns = {}
    for name in fields:
        values = [row[name] for row in rows]
        if name in MOMENTS:
            kind = pa.timestamp("ms", tz="UTC")
            columns[name] = pa.array([value or None for value in values], kind)
        elif name == "Content-Length":
            columns[name] = pa.array([int(value or 0) for value in values], pa.int64())
        elif name in ("Deleted", "IsCurrentVersion"):
            columns[name] = pa.array([None if v == "" else v in (True, "true") for v in values])
            columns[name] = columns[name].cast(pa.bool_())
        else:
            columns[name] = pa.array([None if v == "" else str(v) for v in values], pa.string())
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), sink, row_group_size=3)
    return sink.getvalue()
