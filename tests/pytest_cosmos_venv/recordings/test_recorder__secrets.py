"""The proof that a recording holds no secret: canaries in each place, and all bytes of all files searched for them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from pytest_cosmos_venv.recordings.recording import read_recording
from tests.pytest_cosmos_venv.recordings.stand_in_dbt import record, write_dbt

CANARIES = {
    "DBT_ENV_SECRET_PAT": "canary-one",
    "WAREHOUSE_PASSWORD": "can'ary\"two\\3",
    "GITHUB_TOKEN": "canary&three<4>",
    "STORAGE_KEY": "canary/four+5==",
    "AIRFLOW_CONN_LAKE": "postgresql://crane:canary%40five@db.example/port",
    "ANY_URL": "https://crane:canary-six@api.example",
}
OF_PROFILE = "canary seven ü"
OF_COMMAND = "canary:eight"
SECRETS = (*list(CANARIES.values())[:4], "canary@five", "canary%40five", "canary-six", OF_PROFILE, OF_COMMAND)


def forms(secret: str, cut: int = 0) -> Iterator[str]:
    """A secret as other texts may have it; of Base64 without so many letters at each end, where neighbours mingle."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(json.dumps(secret))[3:-3]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield html.escape(secret)
    yield secret.replace("'", "''")
    yield secret.encode().hex()
    for before in ("", "u", "us"):
        encoded = base64.b64encode((before + secret).encode()).decode()
        yield encoded[cut : len(encoded) - cut]


def found_in(recording: Path) -> list[str]:
    """Each form of each secret that stands in a file, or in the name of one."""
    content = b"\n".join(file.read_bytes() for file in recording.rglob("*") if file.is_file())
    content += "\n".join(map(str, recording.rglob("*"))).encode()
    assert len(content) > 200
    return [form for secret in SECRETS for form in forms(secret, cut=4) if form.encode() in content]


def test_a_dbt_that_says_every_secret_in_every_form_everywhere_leaves_none(tmp_path: Path) -> None:
    said = [form for secret in SECRETS for form in forms(secret)]
    code = f"""
said = {said!r}
for each in said:
    print("it is", each, "here")
    print(json.dumps({{"data": {{"sql": each, each: 1}}, "info": {{"msg": each, "name": "X"}}}}))
    print("trouble", each, file=sys.stderr)
    event("SQLQuery", each, sql=f"select '{{each}}'", args={{"vars": str({{"a": each}})}})
write("run_results.json", {{"metadata": {{"env": dict(os.environ)}}, "results": [], "args": {{"words": sys.argv}}}})
write("manifest.json", {{"nodes": {{each: {{"raw_code": each}} for each in said}}}})
write("catalog.json", "no json " + " ".join(said))
write("sources.json", {{"nested": json.dumps({{"in": json.dumps(said)}})}})
"""
    profile = f"shop: {{outputs: {{dev: {{type: postgres, password: {OF_PROFILE!r}}}}}}}"
    (tmp_path / "profiles.yml").write_text(profile, encoding="utf-8")
    words = ("run", "--vars", json.dumps({"token": OF_COMMAND}))

    done = record(tmp_path / "recording", write_dbt(tmp_path, code), *words, cwd=tmp_path, variables=CANARIES)

    assert done.returncode == 0, done.stderr
    assert CANARIES["DBT_ENV_SECRET_PAT"] in done.stdout  # what the caller sees is unchanged
    assert found_in(tmp_path / "recording") == []
    (command,) = read_recording(tmp_path / "recording").commands
    assert set(command.files) >= {"stdout.txt", "stderr.txt", "events.jsonl", "artifacts/run_results.json"}


def test_nothing_unredacted_is_left_in_temporary_files(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    dbt = write_dbt(tmp_path, "event('SQLQuery', os.environ['GITHUB_TOKEN'])")

    record(tmp_path / "recording", dbt, "run", cwd=tmp_path, variables={**CANARIES, "TMPDIR": str(scratch)})

    assert list(scratch.iterdir()) == []
