"""How a session is made: device, threads and memory, each with the reason for its default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Device = Literal["auto", "cpu", "cuda", "tensorrt"]


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Settings of one session. The defaults suit a serving process: flat memory, no busy waiting.

    `device`: auto takes CUDA where the installed runtime has it and the machine shows a GPU, else the CPU. TensorRT is never
    taken by itself: it builds engines for minutes at first use.
    `threads`: of one operator; 0 for the container's CPU limit.
    `spin`: whether idle pool threads wait busily. Off: in a container with a CPU quota, spinning is paid for like work.
    `arena`: keep freed memory for the next run. On: without it a run of large tensors pays page faults each time (measured: twice
    the time of a small convolution net), and with memory patterns off the arena stays flat whatever the shapes. It grows by
    powers of two, the library's default: growing by what is asked left half as much again (docs/decisions/0008-memory.md).
    `memory_patterns`: plan memory once a shape. Off: the plans are kept for every shape ever seen, which grows for ever.
    `device_memory_bytes`: upper limit of the GPU arena; 0 for no limit.
    `engine_cache`: where TensorRT keeps built engines over restarts; None to build them anew.
    """

    device: Device = "auto"
    threads: int = 0
    spin: bool = False
    arena: bool = True
    memory_patterns: bool = False
    device_id: int = 0
    device_memory_bytes: int = 0
    engine_cache: Path | None = None
    half_precision: bool = False
    # The batch shapes TensorRT builds its optimisation profile for: lowest, best and highest number of rows.
    batch_range: tuple[int, int, int] = (1, 16, 64)

    def on_cpu(self) -> bool:
        """Whether sessions made of these settings run on the CPU of this machine."""
        return self.device == "cpu" or (self.device == "auto" and not gpu_present())


def gpu_present(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA GPU is given to this container."""
    # The second is where Windows' subsystem for Linux has it.
    return any(device.name[6:].isdigit() for device in devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists()
