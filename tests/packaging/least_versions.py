"""Versions from which a published weakness of a dependency was put right.

Written down by hand from what was known at the time; not every weakness is here, and none of tomorrow's. A check
against this table is no audit: that is `pip-audit --strict` with its service at hand (docs/security.md).
"""

LEAST = {
    "celery": ("5.2.2", "CVE-2021-23727: commands run from what a result backend holds"),
    "certifi": ("2024.7.4", "CVE-2024-39689: a root that is no longer trusted"),
    "cryptography": ("44.0.1", "CVE-2024-12797: an OpenSSL in the wheels that did not check raw public keys"),
    "h11": ("0.16.0", "CVE-2025-43859: smuggling by malformed chunks"),
    "httpcore": ("1.0.9", "takes an h11 with CVE-2025-43859 put right"),
    "httpx": ("0.23.0", "CVE-2021-41945: addresses that were read in two ways"),
    "idna": ("3.7", "CVE-2024-3651: names that took forever to read"),
    "mako": ("1.2.2", "CVE-2022-40023: templates that took forever to read"),
    "pydantic": ("2.4.0", "CVE-2024-3772: addresses that took forever to read"),
    "pygments": ("2.15.1", "CVE-2022-40896: text that took forever to colour"),
    "pyyaml": ("5.4", "CVE-2020-14343: code run from a file"),
    "redis": ("4.5.5", "CVE-2023-28858 and 28859: answers given to another caller"),
    "requests": ("2.32.4", "CVE-2024-47081: passwords of .netrc sent to another host"),
    "sqlalchemy": ("1.3.0", "CVE-2019-7164, 7548: SQL through order_by and group_by"),
    "urllib3": ("2.6.0", "CVE-2025-66418 and 66471: unpacking without end"),
    "uvicorn": ("0.11.7", "CVE-2020-7694 and 7695: lines of others in logs and answers"),
}
