"""Let a model call functions: python tools.py MODEL QUESTION. Prints each call, its result, and the answer."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

from kinglet import KingletError, Model

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "days_until",
            "description": "Counts the days from today until a date.",
            "parameters": {
                "type": "object",
                "properties": {
                    "year": {"type": "integer", "minimum": 1, "maximum": 9999},
                    "month": {"type": "integer", "minimum": 1, "maximum": 12},
                    "day": {"type": "integer", "minimum": 1, "maximum": 31},
                },
                "required": ["year", "month", "day"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "today", "description": "Gives the date of today."}},
]


def call(name: str, arguments: dict[str, Any]) -> str:
    """The result of a function, as JSON. What the model gets wrong it is told, so that it can try again."""
    today = datetime.date.today()
    if name == "today":
        return json.dumps({"date": today.isoformat()})
    try:
        date = datetime.date(arguments["year"], arguments["month"], arguments["day"])
    except (KeyError, TypeError, ValueError) as error:
        return json.dumps({"error": str(error)})
    return json.dumps({"days": (date - today).days})


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    path, question = sys.argv[1:]
    try:
        with Model.load(path, precision="int8") as model, model.chat(tools=TOOLS) as chat:
            reply = chat.send(question, max_new_tokens=500)
            # A small model may call for ever.
            for _ in range(5):
                calls = reply.message.get("tool_calls", [])
                if not calls:
                    break
                for each in calls:
                    function = each["function"]
                    result = call(function["name"], function["arguments"])
                    print(f"{function['name']} {json.dumps(function['arguments'])}: {result}", file=sys.stderr)
                    chat.add({"role": "tool", "name": function["name"], "tool_call_id": each["id"], "content": result})
                reply = chat.reply(max_new_tokens=500)
    except KingletError as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1
    print(reply.message["content"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
