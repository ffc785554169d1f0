import pytest

from greenroom import errors
from greenroom.client.failures import failure, job_failed, refused

CODES = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, Exception)]


@pytest.mark.parametrize("error", [error for error in CODES if error is not errors.GreenroomError])
def test_each_code_is_raised_as_its_class(error: type[errors.GreenroomError]) -> None:
    raised = refused(error("a sentence", details={"field": "x"}).payload())
    assert type(raised) is error
    assert raised.message == "a sentence"
    assert raised.details == {"field": "x"}
    assert raised.retryable is error.retryable


def test_a_failed_job_keeps_its_kind() -> None:
    raised = job_failed({"code": "binding_failed", "type": "operation_unloaded", "reason": "no t2t is loaded"})
    assert isinstance(raised, errors.BindingFailed)
    assert (raised.kind, raised.message) == ("operation_unloaded", "no t2t is loaded")


@pytest.mark.parametrize("told", [None, {}, {"code": 4, "reason": None}, {"code": "of_a_later_version"}])
def test_an_odd_failure_is_still_one(told: dict[str, object] | None) -> None:
    assert isinstance(job_failed(told), errors.Internal)
    assert job_failed(told).message


def test_an_unknown_code_is_kept() -> None:
    assert failure("tired", "later").details == {"code": "tired"}
