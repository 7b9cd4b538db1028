"""Stop requests: a flag at the first signal, an interrupt at the second."""

import os
import signal

import pytest

from kdvideo.training import StopRequest, start_worker


def test_a_second_signal_stops_at_once_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert not stop
        assert stop.exit_code == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert stop
        assert stop.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.faults
def test_workers_outlive_the_signals_of_their_group() -> None:
    """Fails when `start_worker` leaves out one of the two signals."""
    child = os.fork()
    if child == 0:
        start_worker()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
