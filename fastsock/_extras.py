"""How to get the packages that an extra of fastsock needs."""

__all__ = ["how_to_install"]


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, from where fastsock itself was installed from."""
    import json
    from importlib import metadata
    from shlex import quote

    wanted = f"fastsock[{extra}]"
    try:
        origin = json.loads(metadata.distribution("fastsock").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        origin = {}
    if "url" not in origin:
        return f"pip install {quote(wanted)}"
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install --editable {quote(origin['url'] + f'[{extra}]')}"
    kind = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
    return f"pip install {quote(f'{wanted} @ {kind}' + origin['url'])}"
