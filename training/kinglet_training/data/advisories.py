"""Security advisories, and a line that says what matters: what is wrong where, since when it is repaired, and what an attacker gains."""

from __future__ import annotations

import random

VENDORS = "Acorn Birch Cedar Delta Ember Fjord Gale Harbor Iris Juniper Kestrel Lark Maple Nimbus Orchid Pine Quartz Raven Sable".split()
PRODUCTS = "Gateway Mail Vault Proxy Player Archive Console Router Camera Scheduler Portal Backup Ledger Chat Printer Sensor".split()
FLAWS = {
    "heap overflow": "writes past the end of a buffer on the heap",
    "stack overflow": "copies input into a fixed buffer on the stack without checking its length",
    "use after free": "uses an object after it has been released",
    "SQL injection": "builds a query from a parameter without escaping it",
    "cross-site scripting": "shows a field of the profile without escaping it",
    "path traversal": "accepts file names with parent directories",
    "missing authentication": "does not ask for credentials on one of its endpoints",
    "weak random numbers": "derives session tokens from the time",
    "integer overflow": "multiplies two sizes from the header without checking the result",
    "command injection": "passes a host name to a shell",
}
IMPACTS = {
    "run code": "execute arbitrary code with the rights of the service",
    "read files": "read files that the service can open",
    "crash the service": "terminate the process and interrupt all users",
    "take over sessions": "act in the name of users who are logged in",
    "gain administrator rights": "obtain administrative privileges",
    "read the database": "retrieve records of other customers",
}
ATTACKERS = {"remote attackers": "over the network without credentials", "logged-in users": "after logging in with any account",
             "local users": "with a local account on the machine"}
SEVERITIES = {"critical": (9.0, 10.0), "high": (7.0, 8.9), "medium": (4.0, 6.9), "low": (0.1, 3.9)}
COMPONENTS = "image parser|login page|update client|search form|export job|log viewer|plugin loader|web socket handler|mail importer|API".split("|")
DISTRACTORS = [
    "The vendor thanks the researchers for reporting the problem responsibly.",
    "No public exploit was known when this advisory was written.",
    "The product is used by companies of all sizes in more than forty countries.",
    "Version {old} of the product, which is no longer supported, was not examined.",
    "Customers with a support contract were informed on {date}.",
    "A similar problem in {other} was described last year and is unrelated.",
    "Administrators are advised to watch their log files for unusual requests.",
    "The update also contains translations and improves the performance of start-up.",
    "Documentation of the affected component was last revised on {date}.",
    "This text will be revised when more becomes known.",
]
MONTHS = "January February March April May June July August September October November December".split()


def _version(source: random.Random) -> str:
    return f"{source.randint(1, 12)}.{source.randint(0, 20)}.{source.randint(0, 9)}"


def pair(source: random.Random) -> tuple[str, str]:
    """An advisory of four to nine sentences, and its summary."""
    product = f"{source.choice(VENDORS)} {source.choice(PRODUCTS)}"
    flaw, cause = source.choice(list(FLAWS.items()))
    impact, effect = source.choice(list(IMPACTS.items()))
    attacker, access = source.choice(list(ATTACKERS.items()))
    severity, (low, high) = source.choice(list(SEVERITIES.items()))
    component, fixed = source.choice(COMPONENTS), _version(source)
    number = f"CVE-{source.randint(2019, 2026)}-{source.randint(1000, 49999)}"
    score = f"{source.uniform(low, high):.1f}"
    date = f"{source.randint(1, 28)} {source.choice(MONTHS)} {source.randint(2019, 2026)}"
    facts = [
        source.choice([
            f"The {component} of {product} {cause}.",
            f"In {product}, the {component} {cause}.",
        ]),
        source.choice([
            f"An attacker can use this {access} to {effect}.",
            f"The weakness can be used {access} and allows to {effect}.",
        ]),
        source.choice([
            f"All versions before {fixed} are affected.",
            f"The problem was repaired in version {fixed}.",
            f"Users should update to {fixed} or newer.",
        ]),
        source.choice([
            f"It is tracked as {number} and has a CVSS score of {score}.",
            f"{number} was assigned; the CVSS base score is {score}.",
        ]),
    ]
    chosen = source.sample(DISTRACTORS, source.randint(0, 5))
    others = [text.format(old=_version(source), date=date, other=f"{source.choice(VENDORS)} {source.choice(PRODUCTS)}") for text in chosen]
    # Facts keep their order; distractors stand anywhere.
    sentences = list(facts)
    for other in others:
        sentences.insert(source.randint(0, len(sentences)), other)
    summary = f"{severity.capitalize()}: {flaw} in {product} before {fixed} lets {attacker} {impact} ({number})."
    return "summarise: " + " ".join(sentences), summary
