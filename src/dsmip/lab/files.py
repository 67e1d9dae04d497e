"""The files a tour leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write(
    directory: Path, name: str, result: Mapping[str, Any], draw: Callable[[Sequence[Path]], None]
) -> dict[str, Path]:
    """Write result.json and the picture, as NAME.png and NAME.svg, into a directory (made if need be).

    Returns their paths. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pictures = {each: directory / each for each in (f"{name}.png", f"{name}.svg")}
    data = directory / "result.json"
    data.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(list(pictures.values()))
    return {data.name: data, **pictures}
