"""Search queries as people type them, and the queries that a search engine answers best: spelled out, without filler."""

from __future__ import annotations

import random

# What people type, and what is meant.
PRODUCTS = {
    "win 11": "Windows 11", "win10": "Windows 10", "mac": "macOS", "ubuntu": "Ubuntu", "iphone": "iPhone", "andriod": "Android",
    "pythn": "Python", "python": "Python", "js": "JavaScript", "ts": "TypeScript", "k8s": "Kubernetes", "postgres": "PostgreSQL",
    "vscode": "Visual Studio Code", "docker": "Docker", "git": "Git", "excel": "Excel", "chrome": "Chrome", "ff": "Firefox",
    "react": "React", "rust": "Rust", "golang": "Go", "nginx": "nginx", "redis": "Redis", "aws": "AWS", "gcp": "Google Cloud",
}
PROBLEMS = {
    "instal eror": "installation error", "wont start": "does not start", "slow": "is slow", "crashs": "crashes",
    "mem leak": "memory leak", "no sound": "has no sound", "cant connect": "cannot connect", "perm denied": "permission denied",
    "time out": "timeout", "update failed": "update failed", "login issue": "login problem", "black screen": "black screen",
    "out of mem": "out of memory", "cert error": "certificate error", "battery drain": "battery drain", "disk full": "disk full",
}
ACTIONS = {
    "how do i fix": "fix", "how to fix": "fix", "fix for": "fix", "whats wrong when": "diagnose", "why is there": "cause of",
    "help with": "solve", "how can i get rid of": "remove", "steps to solve": "solve", "anyone know how to fix": "fix",
}
COMPARED = {
    "diff between": "difference between", "whats better": "comparison of", "compare": "comparison of", "pros cons of": "comparison of",
}
LEARNED = {
    "tut": "tutorial", "cheat sheet": "cheat sheet", "best practices": "best practices", "examples": "examples", "docs": "documentation",
    "course free": "free course", "interview qs": "interview questions",
}
TOPICS = {
    "regex": "regular expressions", "async": "asynchronous programming", "ml": "machine learning", "nlp": "natural language processing",
    "oop": "object-oriented programming", "ci cd": "continuous integration and delivery", "sql joins": "SQL joins",
    "unit tests": "unit tests", "data viz": "data visualisation", "threads": "threads", "gc": "garbage collection",
}
PLACES = {"nyc": "New York City", "sf": "San Francisco", "london": "London", "berlin": "Berlin", "la": "Los Angeles", "tokyo": "Tokyo"}
WANTED = {
    "cheap hotel": "cheap hotels", "good coffe": "good coffee", "vegan food": "vegan restaurants", "gym": "gyms",
    "things todo": "things to do", "apts for rent": "apartments for rent", "weather tmrw": "weather tomorrow", "dentist": "dentists",
}
FILLERS = ["please", "pls", "hi", "asap", "thx", "??", "lol", "urgent"]
YEARS = [str(year) for year in range(2018, 2027)]


def pair(source: random.Random) -> tuple[str, str]:
    """A query and its rewrite."""
    typed, meant = source.choices([_problem, _comparison, _tutorial, _place], [5, 3, 4, 3])[0](source)
    if source.random() < 0.35:
        typed = f"{source.choice(FILLERS)} {typed}" if source.random() < 0.5 else f"{typed} {source.choice(FILLERS)}"
    if source.random() < 0.3:
        year = source.choice(YEARS)
        typed, meant = f"{typed} {year}", f"{meant} {year}"
    return f"rewrite: {_misspelled(typed, source)}", meant


def _of(table: dict[str, str], source: random.Random) -> tuple[str, str]:
    return source.choice(list(table.items()))


def _problem(source: random.Random) -> tuple[str, str]:
    (a, action), (b, product), (c, problem) = _of(ACTIONS, source), _of(PRODUCTS, source), _of(PROBLEMS, source)
    if source.random() < 0.5:
        (d, other) = _of(PRODUCTS, source)
        return f"{a} {b} {c} on {d}", f"{action} {product} {problem} on {other}"
    return f"{a} {b} {c}", f"{action} {product} {problem}"


def _comparison(source: random.Random) -> tuple[str, str]:
    (a, verb), (b, first), (c, second) = _of(COMPARED, source), _of(PRODUCTS, source), _of(PRODUCTS, source)
    link = source.choice(["and", "vs", "or"])
    (d, topic) = _of(TOPICS, source)
    if source.random() < 0.5:
        return f"{a} {b} {link} {c} for {d}", f"{verb} {first} and {second} for {topic}"
    return f"{a} {b} {link} {c}", f"{verb} {first} and {second}"


def _tutorial(source: random.Random) -> tuple[str, str]:
    (a, product), (b, topic), (c, kind) = _of(PRODUCTS, source), _of(TOPICS, source), _of(LEARNED, source)
    return f"{a} {b} {c}", f"{product} {topic} {kind}"


def _place(source: random.Random) -> tuple[str, str]:
    (a, wanted), (b, place) = _of(WANTED, source), _of(PLACES, source)
    return source.choice([f"{a} {b}", f"{a} in {b}", f"where {a} near {b}"]), f"{wanted} in {place}"


def _misspelled(text: str, source: random.Random) -> str:
    """Swaps two neighbouring letters of one longer word in a quarter of the texts."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 5 and word.isalpha()]
    if not long or source.random() > 0.25:
        return text
    i = source.choice(long)
    word = words[i]
    at = source.randrange(1, len(word) - 2)
    words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
