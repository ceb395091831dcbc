"""The official JavaScript SDKs, unmodified, by node's test runner; and segment counts against a known calculator."""

import json
import subprocess
from pathlib import Path
from random import Random

import pytest
from tests.contract.sdk.javascript import run_js
from tests.support.sample_chat import SAMPLE

from landline.protocols import smstext
from landline.testing import Server

HERE = Path(__file__).parent / "js"


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(
    "file",
    [
        "chat.test.js",
        "chat_realtime.test.js",
        "identity.test.js",
        "sms.test.js",
        "phone_numbers.test.js",
        "sip_routing.test.js",
        "rooms.test.js",
    ],
)
def test_the_javascript_sdks_pass(landline: Server, file: str) -> None:
    run_js(landline, file)


@pytest.mark.parametrize("place", [HERE, SAMPLE], ids=["tests", "sample"])
def test_no_lock_file_names_a_registry(place: Path) -> None:
    lock = json.loads((place / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    package = json.loads((place / "package.json").read_text())
    versions = [*package.get("dependencies", {}).values(), *package.get("devDependencies", {}).values()]
    assert versions
    assert not [version for version in versions if version.startswith(("^", "~"))]


GSM = "abcXYZ0189 \n\r@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ!\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà"
EXTENSION = "^{}\\[~]|€"
OUTSIDE = "çёжя漢字áâ“”…`"
ASTRAL = "👋😀𝔘"


def vectors() -> list[str]:
    """Texts around every border: each alphabet alone and mixed, each length where a segment ends, then random ones."""
    texts: list[str] = ["", "\n", "ç", *GSM, *EXTENSION, *OUTSIDE]
    for length in (1, 69, 70, 71, 133, 134, 135, 152, 153, 154, 159, 160, 161, 201, 202, 305, 306, 307, 459, 460, 2048):
        texts += ["a" * length, "a" * (length - 1) + "€", "ж" * length, "a" * (length - 1) + "ж", "€" * length]
        texts += ["😀" * length, "ж" * (length - 1) + "😀", "a" * (length - 1) + "😀", "€" + "a" * (length - 1)]
    random = Random(20261121)
    alphabets = [GSM, GSM + EXTENSION, GSM + EXTENSION + OUTSIDE, OUTSIDE + ASTRAL, GSM * 20 + EXTENSION]
    for _ in range(2000):
        alphabet = random.choice(alphabets)
        texts.append("".join(random.choices(alphabet, k=random.randrange(1, 700))))
    return texts


def test_segments_are_counted_as_the_known_calculator_counts_them(node_modules: Path) -> None:
    # The calculator counts "\r\n" as one character, which no phone does.
    texts = [text for text in vectors() if text and "\r\n" not in text]
    run = subprocess.run(
        ["node", "segments.js"],
        cwd=HERE,
        input=json.dumps(texts),
        text=True,
        capture_output=True,
        check=True,
        timeout=600,
    )
    names = {smstext.Encoding.GSM_7BIT: "GSM-7", smstext.Encoding.UCS2: "UCS-2"}
    ours = [(found := smstext.segments(text)) and [names[found.encoding], found.count] for text in texts]
    differing = [
        (text[:40], len(text), mine, theirs)
        for text, mine, theirs in zip(texts, ours, json.loads(run.stdout), strict=True)
        if mine != theirs
    ]
    assert differing == []
    assert len(texts) > 1500
