"""What ``greenroom doctor`` says of models: what is installed, what only half, what the configuration names in vain."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.store import SPARE_BYTES
from greenroom.bindings.environments import size_text
from greenroom.commandline.finding import Finding, Status
from greenroom.commandline.local import Local

_HUB_TOKEN = "HF_TOKEN"  # noqa: S105 -- a name


def models(local: Local, found: Mapping[str, FoundBinding]) -> Iterator[Finding]:
    """Reads small files only; nothing is asked of the network."""
    catalogues = {}
    for binding_id, binding in found.items():
        if binding.error or not binding.model_entries:
            continue
        folder = local.places().place(binding).models
        catalogue = Catalogue(binding_id, folder, binding.model_entries, binding.card.any_hub_model)
        catalogues[binding_id] = catalogue
        yield from _of(catalogue)
    yield from _named(local, catalogues)
    yield _room(local.home.models)
    known = local.secrets.get(_HUB_TOKEN) is not None
    sentence = f"{_HUB_TOKEN} is {'set' if known else 'not set; only models that want a login need it'}"
    yield Finding("hub", Status.OK, sentence)


def _of(catalogue: Catalogue) -> Iterator[Finding]:
    name = f"models of {catalogue.binding_id}"
    present = {download.name: catalogue.presence(download) for download in catalogue.downloads}
    if present:
        here = [one for one in catalogue.downloads if present[one.name] is Presence.INSTALLED]
        size = sum(catalogue.size_bytes(one) or 0 for one in here)
        yield Finding(
            name,
            Status.OK,
            f"{len(here)} of {len(present)} installed{f', {size_text(size)}' if size else ''}",
        )
    for download, presence in present.items():
        if presence is Presence.PARTIAL:
            mend = f"greenroom install model {catalogue.binding_id} {download}"
            yield Finding(name, Status.NOTE, f"a part of {download} is here; fetch the rest with: {mend}")
    for entry in catalogue.entries:
        if entry.problem:
            yield Finding(name, Status.NOTE, entry.problem)


def _named(local: Local, catalogues: Mapping[str, Catalogue]) -> Iterator[Finding]:
    """Models that the configuration names, where the binding lists them and they are not here."""
    config = local.config
    told: set[tuple[str, str]] = set()
    for entry in config.operations:
        options = {**config.bindings.get(entry.id, {}), **entry.settings}
        catalogue = catalogues.get(entry.id)
        for option in ("model", "voice"):
            wanted = options.get(option)
            if catalogue is None or not isinstance(wanted, str) or (entry.id, wanted) in told:
                continue
            told.add((entry.id, wanted))
            listed = [one for one in catalogue.downloads if wanted == one.name or wanted in one.aliases]
            if listed and all(catalogue.presence(one) is not Presence.INSTALLED for one in listed):
                mend = f"greenroom install model {entry.id} {listed[0].name}"
                yield Finding(
                    f"models of {entry.id}",
                    Status.FAILED,
                    f"the configuration names the {option} {wanted}, which is not installed; install it with: {mend}",
                )


def _room(folder: Path) -> Finding:
    there = next((one for one in (folder, *folder.parents) if one.is_dir()), folder)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding("disk", Status.NOTE, f"{folder} cannot be looked at: {error.strerror or error}")
    status = Status.OK if free > SPARE_BYTES else Status.NOTE
    return Finding("disk", status, f"{size_text(free)} are free for models in {folder}")
