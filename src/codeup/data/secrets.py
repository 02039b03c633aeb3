"""Secrets and personal data in a text: keys, tokens, private keys; e-mail and public network addresses.

    "key = 'AKIAQ3EGRVJYXKJ4TL2M'"       ->   Found("aws_access_key", …)         masked: "key = '<AWS_ACCESS_KEY>'"
    "mail bob.smith@acme-tools.io"       ->   Found("email", …)                  masked: "mail <EMAIL>"

Patterns of our own, made from what the issuers document about the form of their keys (AWS IAM unique identifiers,
GitHub token formats, Slack token types, RFC 7519 for JWT, RFC 7468 for private keys). A gate on Shannon entropy and a
list of placeholders keep out documentation ("AKIAIOSFODNN7EXAMPLE", "xxxx", "your-token-here"), reserved domains (RFC
2606) and addresses that are not public (RFC 1918 and whatever `ipaddress` calls not global).

Not looked for: names, telephone numbers, postal addresses; passwords other than those assigned as text of 12 or more
mixed characters; IPv6 other than global unicast (2000::/3, RFC 4291).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BITS = 3.0
"""Shannon entropy per character below which a token is taken for a placeholder; random base 62 of 20 has about 4."""
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|dummy|placeholder|your|insert|x{4}|\*{3}|\.{3}|1234567|abcdef|test|secret"
)
RESERVED = ("example.com", "example.org", "example.net", "domain.com", "email.com", "company.com", "mail.com")
"""Domains of made-up addresses: RFC 2606 and what textbooks use."""
RESERVED_ENDS = (".example", ".test", ".invalid", ".localhost", ".local", ".png", ".jpg", ".svg", ".js", ".css", ".py")
NOBODY = frozenset({"noreply", "no-reply", "user", "username", "name", "your", "you", "email", "example", "git"})
"""Mailboxes that are nobody's."""
WELL_KNOWN = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4", "4.3.2.1", "5.6.7.8"})
"""Public resolvers and made-up addresses: nobody's."""


@dataclass(frozen=True, slots=True)
class Found:
    """A secret at text[begin:end]; `kind` is one of KINDS."""

    kind: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Detector:
    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]


def bits_per_character(text: str) -> float:
    """Shannon entropy of the characters of a text.

    >>> bits_per_character("aaaa"), bits_per_character("abcd")
    (0.0, 2.0)
    """
    counts = Counter(text).values()
    return sum(-n / len(text) * math.log2(n / len(text)) for n in counts) if text else 0.0


def _random(token: str) -> bool:
    return bits_per_character(token) >= BITS and not _PLACEHOLDER.search(token)


def _mixed(token: str) -> bool:
    """As random as an assigned key must be: letters and digits, and no words."""
    kinds = sum(bool(re.search(kind, token)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    words = re.search(r"[a-z]{7,}|^[A-Z_]+$|^[a-z_.-]+$", token)
    return kinds >= 2 and bool(re.search("[0-9]", token)) and not words and bits_per_character(token) >= 3.3


def _jwt(token: str) -> bool:
    """Its first part decodes to an object that names an algorithm (RFC 7519, RFC 7515)."""
    head = token.split(".")[0]
    try:
        return b'"alg"' in base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)) and not _PLACEHOLDER.search(token)
    except (binascii.Error, ValueError):
        return False


def _key_block(block: str) -> bool:
    """Something is in it: 64 or more characters of base 64, as random as a key."""
    body = "".join(block.split("-----")[2].split())
    return len(body) >= 64 and bits_per_character(body) >= 4.0


def _mailbox(address: str) -> bool:
    name, _, domain = address.lower().rpartition("@")
    made_up = (
        domain in RESERVED or domain.endswith(RESERVED_ENDS) or domain.startswith(("example.", "test.", "domain."))
    )
    return not made_up and name not in (
        "noreply",
        "no-reply",
        "user",
        "username",
        "name",
        "your",
        "email",
        "example",
        "git",
    )


def _public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast and address not in WELL_KNOWN


_DETECTORS = tuple(
    _Detector(kind, needles, re.compile(pattern), holds)
    for kind, needles, pattern, holds in (
        ("aws_access_key", ("AKIA", "ASIA"), r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])", _random),
        ("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?<!\w)gh[pousr]_[A-Za-z0-9]{36,}", _random),
        ("github_token", ("github_pat_",), r"(?<!\w)github_pat_[A-Za-z0-9_]{40,}", _random),
        ("slack_token", ("xox",), r"(?<!\w)xox[abeoprs]-[A-Za-z0-9-]{20,}", _random),
        ("slack_token", ("hooks.slack.com",), r"https://hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}", _random),
        ("google_key", ("AIza",), r"(?<!\w)AIza[\w-]{35}(?![\w-])", _random),
        ("stripe_key", ("_live_",), r"(?<!\w)[sr]k_live_[A-Za-z0-9]{20,}", _random),
        ("llm_key", ("sk-",), r"(?<![\w-])sk-(?:proj-|ant-[a-z0-9]+-)?[A-Za-z0-9_-]{40,}", _random),
        ("jwt", ("eyJ",), r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}", _jwt),
        (
            "private_key",
            ("PRIVATE KEY-----",),
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----[^-]{40,}-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----",
            _key_block,
        ),
        (
            "assigned_secret",
            ("key", "KEY", "Key", "secret", "SECRET", "Secret", "token", "TOKEN", "Token", "assw", "ASSW"),
            r"(?i:(?:api|access|auth|secret|private)[_-]?(?:key|token|secret)|client_secret|passw(?:or)?d|passwd)"
            r"[\"']?\s*(?:=|:|=>)\s*[\"'](?P<secret>[A-Za-z0-9+/=_.!@#$%^&*-]{12,200})[\"']",
            _mixed,
        ),
        (
            "email",
            ("@",),
            r"(?<![\w.+/@-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,12}(?![\w@-])",
            _mailbox,
        ),
        ("ip_address", (".",), r"[0-9](?<![\w.-][0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])", _public),
        (
            "ip_address",
            (":",),
            r"[23](?<![\w:.][23])[0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,7}[0-9a-fA-F]{1,4}(?![\w:.])",
            _public,
        ),
    )
)  # fmt: skip
PERSONAL = ("email", "ip_address")
KINDS = tuple(dict.fromkeys(detector.kind for detector in _DETECTORS))
SECRET = tuple(kind for kind in KINDS if kind not in PERSONAL)


def find(text: str, kinds: tuple[str, ...] = KINDS) -> list[Found]:
    """What is in a text, in order; of two that overlap the one that begins first."""
    found = sorted(_all(text, frozenset(kinds)), key=lambda item: (item.begin, -item.end))
    kept: list[Found] = []
    for item in found:
        if not kept or item.begin >= kept[-1].end:
            kept.append(item)
    return kept


def _all(text: str, kinds: frozenset[str]) -> Iterator[Found]:
    for detector in _DETECTORS:
        if detector.kind in kinds and any(needle in text for needle in detector.needles):
            for match in detector.pattern.finditer(text):
                group = "secret" if "secret" in detector.pattern.groupindex else 0
                if detector.holds(match[group]):
                    yield Found(detector.kind, *match.span(group))


def masked(text: str, found: list[Found]) -> str:
    """The text with each of them replaced by its kind, `<EMAIL>`."""
    parts, at = [], 0
    for item in found:
        parts += [text[at : item.begin], f"<{item.kind.upper()}>"]
        at = item.end
    return "".join((*parts, text[at:]))
