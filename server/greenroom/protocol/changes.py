"""Commands that change the session or the server, answered when that is done."""

from typing import Annotated

from pydantic import Field

from greenroom.protocol.command import Change, Reach
from greenroom.protocol.fields import ModelName, Name, Settings
from greenroom.values import Access


class SelectBinding(Change):
    """The same as loading that binding's ``t2t``."""

    event = "select_binding"
    reply_event = "select_binding"
    binding_name: Name
    options: Settings | None = None


class SelectModel(Change):
    event = "select_model"
    reply_event = "select_model"
    model_name: Name


class AddPersonality(Change):
    """``language/category/name``, or the absolute path of a folder that lies under an allowed root."""

    event = "add_personality"
    reply_event = "personality_added"
    path: Annotated[str, Field(min_length=1, max_length=4096)]


class RemovePersonality(Change):
    event = "remove_personality"
    reply_event = "personality_removed"
    id: int | Name


class ActivatePersonality(Change):
    """``id``: the index in ``list_active_personalities``, or a name."""

    event = "activate_personality"
    reply_event = "activate_personality"
    id: int | Name


class InstallBinding(Change):
    """Build the environment that the binding asks for. The answer comes when it is done; until then
    ``install_progress`` tells its caller how far it is. It is stopped when its caller leaves, or by
    ``uninstall_binding``."""

    event = "install_binding"
    reply_event = "install_progress"
    access = Access.OWNER
    reach = Reach.SERVER
    takes_long = True
    name: Name
    upgrade: bool = False


class UninstallBinding(Change):
    """Remove the binding's environment; refused while it is in use. An installation that runs is stopped first."""

    event = "uninstall_binding"
    reply_event = "install_progress"
    access = Access.OWNER
    reach = Reach.SERVER
    takes_long = True
    name: Name


class InstallModel(Change):
    """Fetch a model that ``models.yaml`` of a binding lists; addresses come from there alone. ``name`` is the entry's,
    or its ``path`` in ``available_models_list``. Without ``binding``: of the selected one, or of the one that has it.
    The answer comes when it is done; until then ``install_progress`` tells its caller how far it is. When its caller
    leaves it stops, and goes on from there the next time."""

    event = "install_model"
    reply_event = "install_progress"
    access = Access.OWNER
    reach = Reach.SERVER
    takes_long = True
    binding: Name | None = None
    name: ModelName
    upgrade: bool = False


class UninstallModel(Change):
    """Remove what was installed of a model; refused while an engine may have it open. An installation that runs is
    stopped first."""

    event = "uninstall_model"
    reply_event = "install_progress"
    access = Access.OWNER
    reach = Reach.SERVER
    takes_long = True
    binding: Name | None = None
    name: ModelName
