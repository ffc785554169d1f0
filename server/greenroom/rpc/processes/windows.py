"""A child in a job object: the kernel ends the job, whoever is in it, when our last handle to it closes."""

import sys

if sys.platform == "win32":  # what follows is made of names that exist there alone
    import ctypes
    import msvcrt
    import os
    import signal
    import subprocess
    import threading
    from collections.abc import Mapping, Sequence
    from ctypes import wintypes
    from pathlib import Path

    from greenroom.rpc.processes.child import Child

    KILL_ON_JOB_CLOSE = 0x2000
    EXTENDED_LIMITS = 9
    KILLED = 1

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("per_process_time", ctypes.c_int64),
            ("per_job_time", ctypes.c_int64),
            ("limit_flags", wintypes.DWORD),
            ("minimum_working_set", ctypes.c_size_t),
            ("maximum_working_set", ctypes.c_size_t),
            ("active_processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority_class", wintypes.DWORD),
            ("scheduling_class", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("basic", _BasicLimits),
            ("io_counters", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("job_memory", ctypes.c_size_t),
            ("peak_process_memory", ctypes.c_size_t),
            ("peak_job_memory", ctypes.c_size_t),
        )

    class _Job:
        def __init__(self) -> None:
            kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            kernel.CreateJobObjectW.restype = wintypes.HANDLE
            kernel.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
            kernel.SetInformationJobObject.argtypes = (
                *(wintypes.HANDLE, ctypes.c_int),
                *(ctypes.c_void_p, wintypes.DWORD),
            )
            kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
            kernel.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
            kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
            self._kernel = kernel
            self._handle = kernel.CreateJobObjectW(None, None)
            limits = _ExtendedLimits()
            limits.basic.limit_flags = KILL_ON_JOB_CLOSE
            kernel.SetInformationJobObject(self._handle, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))

        def take(self, process: int) -> None:
            """``process``: a handle. :raises OSError: if the process has ended or may not be taken."""
            if not self._kernel.AssignProcessToJobObject(self._handle, process):
                raise ctypes.WinError(ctypes.get_last_error())

        def kill(self) -> None:
            self._kernel.TerminateJobObject(self._handle, KILLED)

        def close(self) -> None:
            self._kernel.CloseHandle(self._handle)

    class WindowsChild(Child):
        def __init__(
            self,
            command: Sequence[str],
            env: Mapping[str, str] | None,
            cwd: Path | None,
            output: int | None,
            pass_fds: Sequence[int],
        ) -> None:
            super().__init__()
            self._job = _Job()
            self._job_lock = threading.Lock()
            handles = [msvcrt.get_osfhandle(fd) for fd in pass_fds]
            for handle in handles:
                os.set_handle_inheritable(handle, True)
            start = subprocess.STARTUPINFO()
            start.lpAttributeList = {"handle_list": handles}
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- a list of arguments, no shell
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=env,
                    cwd=cwd,
                    startupinfo=start,
                    creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
                )
            except BaseException:
                self._job.close()
                raise
            try:
                self._job.take(int(self._process._handle))  # type: ignore[attr-defined]
            except OSError:  # it has ended already; if not, it must not run outside the job
                self._process.kill()
            threading.Thread(target=self._watch, name=f"greenroom-child-{self.pid}", daemon=True).start()

        @property
        def pid(self) -> int:
            return self._process.pid

        def terminate(self, grace_s: float = 5.0) -> None:
            """A console program gets Ctrl-Break; Windows has nothing that would ask others."""
            if self.ended.done():
                return
            try:
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            except OSError:
                self.kill()
                return
            timer = threading.Timer(grace_s, self.kill)
            timer.daemon = True
            timer.start()
            self.ended.add_done_callback(lambda _ended: timer.cancel())

        def kill(self) -> None:
            with self._job_lock:
                if not self.ended.done():
                    self._job.kill()

        def _watch(self) -> None:
            code = self._process.wait()
            with self._job_lock:
                self._job.kill()
                self._job.close()
                self.ended.set_result(code)
