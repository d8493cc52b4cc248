"""The runtimes behind one interface: images in, named arrays out."""
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, first_line
from ..utils.imports import need, pinned
from .model_spec import Description, is_being_verified
from .onnx_files import check_onnx
from .silence import silent

# Precision: the runtime's own choice instead of float32.
DEFAULT = 'default'


class InferenceError(UserError):
    """A runtime cannot open or run a model."""


class Session(ABC):
    """An opened model, which threads may use in turn.

    Copying and unpickling open the files again.
    """

    name: str

    def __init__(self, folder: Path, description: Description,
                 threads: int | None = None, precision: str = 'float32'):
        self._arguments = folder, description, threads, precision
        # Runtimes reuse the memory of inputs and outputs for all calls.
        self._lock = threading.Lock()
        self.file = folder / description.files[0]
        self.description = description
        self.output_names = [item['name'] for item in description.outputs]
        try:
            self.open(threads, precision)
        except UserError:
            raise
        # A runtime may raise anything.
        except Exception as error:
            raise InferenceError(f'{self.file} cannot be opened: '
                                 f'{first_line(error)[:200]}') from error

    def __reduce__(self) -> tuple:
        return type(self), self._arguments

    @abstractmethod
    def open(self, threads: int | None, precision: str) -> None:
        """Load the file."""

    @abstractmethod
    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        """Compute the outputs, in the order of the description."""

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the outputs, and check their shapes."""
        try:
            with self._lock:
                found = self.compute(np.ascontiguousarray(images, np.float32))
        except Exception as error:
            raise InferenceError(f'the runtime fails on {self.file}: '
                                 f'{first_line(error)[:200]}') from error
        for item, output in zip(self.description.outputs, found):
            shape, known = list(output.shape), item['shape']
            if len(shape) != len(known) or any(
                    side != fixed for side, fixed in zip(shape, known)
                    if not isinstance(fixed, str)):
                raise InferenceError(
                    f'{self.file}: output {item["name"]!r} has the shape '
                    f'{shape}, but {known} in model.json')
        return dict(zip(self.output_names, found, strict=True))


class OnnxSession(Session):
    """ONNX Runtime on the CPU."""

    def open(self, threads: int | None, precision: str) -> None:
        onnxruntime = need('onnxruntime', 'onnxruntime')
        settings = onnxruntime.SessionOptions()
        # It warns of what the exporter did not fold.
        settings.log_severity_level = 3
        if threads:
            settings.intra_op_num_threads = threads
        check_onnx(self.file)
        # Else its threads spin between calls.
        settings.add_session_config_entry('session.force_spinning_stop', '1')
        self._session = onnxruntime.InferenceSession(
            str(self.file), settings, providers=['CPUExecutionProvider'])
        provider, = self._session.get_providers()
        self.name = f'ONNX Runtime {onnxruntime.__version__}, {provider}'

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        return self._session.run(
            self.output_names, {self.description.input['name']: images})


class OpenVinoSession(Session):
    """OpenVINO on the CPU."""

    def open(self, threads: int | None, precision: str) -> None:
        openvino = need('openvino', 'openvino')
        settings: dict[str, str | int] = {}
        if precision != DEFAULT:
            settings['INFERENCE_PRECISION_HINT'] = 'f32'
        if threads:
            settings['INFERENCE_NUM_THREADS'] = threads
        with open(self.file, 'rb') as stream:
            # Else OpenVINO tries other formats, whatever the name.
            if stream.read(1) != b'<':
                raise UserError(f'{self.file} is not an XML file: export '
                                'again')
        core = openvino.Core()
        self._compiled = core.compile_model(
            core.read_model(str(self.file),
                            str(self.file.with_suffix('.bin'))),
            'CPU', settings)
        hint = self._compiled.get_property('INFERENCE_PRECISION_HINT')
        release = openvino.__version__.split('-')[0]
        self.name = f'OpenVINO {release}, CPU, {hint.to_string()}'

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        outputs = self._compiled(images)
        return [np.array(outputs[name]) for name in self.output_names]


class TorchSession(Session):
    """torch.export's own format, which needs torch."""

    def open(self, threads: int | None, precision: str) -> None:
        self._torch = torch = need('torch', 'torch torchvision')
        # It registers the operator of NMS.
        need('torchvision', 'torchvision')
        with warnings.catch_warnings():
            # Nobody writes to the memory-mapped file.
            warnings.filterwarnings('ignore', 'The given buffer is not writ')
            self._call = torch.export.load(str(self.file)).module()
        self.name = f'torch.export {torch.__version__}'

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        with self._torch.no_grad():
            return [output.numpy() for output in self._call(
                self._torch.from_numpy(images))]


class NcnnSession(Session):
    """ncnn on the CPU, image by image."""

    def open(self, threads: int | None, precision: str) -> None:
        self._ncnn = ncnn = need('ncnn', 'ncnn')
        self._net = ncnn.Net()
        if precision != DEFAULT:
            for name in ('use_fp16_packed', 'use_fp16_storage',
                         'use_fp16_arithmetic', 'use_bf16_storage'):
                setattr(self._net.opt, name, False)
        if threads:
            self._net.opt.num_threads = threads
        for load, file in ((self._net.load_param, self.file),
                           (self._net.load_model,
                            self.file.with_suffix('.bin'))):
            if load(str(file)):
                raise UserError(f'ncnn cannot read {file}: export again')
        exact = '' if precision == DEFAULT else ', float32'
        self.name = f'ncnn {ncnn.__version__}, CPU{exact}'

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        image, = images
        extractor = self._net.create_extractor()
        extractor.input('in0', self._ncnn.Mat(image).clone())
        return [np.array(extractor.extract(f'out{index}')[1])[None]
                for index in range(len(self.output_names))]


class ExecuTorchSession(Session):
    """ExecuTorch with XNNPACK, whose Python package needs torch.

    A process has one thread pool, which its first session creates.
    """

    _pool_is_in_use = False

    def open(self, threads: int | None, precision: str) -> None:
        package = pinned('executorch')
        self._torch = need('torch', 'torch')
        with silent(2):
            runtime = need('executorch.runtime', package)
            if threads:
                self._set_threads(threads, need(
                    'executorch.extension.pybindings.portable_lib', package))
            ExecuTorchSession._pool_is_in_use = True
            # Kept alive, as the method depends on it.
            self._program = runtime.Runtime.get().load_program(self.file)
            self._method = self._program.load_method('forward')
        self.name = f'ExecuTorch {version("executorch")}, XNNPACK'

    def _set_threads(self, threads: int, library: Any) -> None:
        count = library._threadpool_get_thread_count()
        if count == threads:
            return
        if self._pool_is_in_use:
            # Loaded models would go on using the old pool's memory.
            raise UserError(f'ExecuTorch already uses {count} threads in this '
                            f'process: use threads={count}, or another '
                            'process')
        library._unsafe_reset_threadpool(threads)

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        # The next call overwrites the outputs.
        return [output.clone().numpy() for output in self._method.execute(
            [self._torch.from_numpy(images)])]


class LiteRtSession(Session):
    """LiteRT with XNNPACK on the CPU."""

    def open(self, threads: int | None, precision: str) -> None:
        interpreter = need('ai_edge_litert.interpreter',
                           pinned('ai-edge-litert'))
        with silent(2):
            # Kept alive, as the runner depends on it.
            self._interpreter = interpreter.Interpreter(
                model_path=str(self.file), num_threads=threads)
            self._interpreter.allocate_tensors()
        self._run = self._interpreter.get_signature_runner()
        self.name = f'LiteRT {version("ai-edge-litert")}, XNNPACK'

    def compute(self, images: np.ndarray) -> list[np.ndarray]:
        outputs = self._run(**{self.description.input['name']: images})
        return [outputs[name] for name in self.output_names]


SESSIONS: dict[str, Callable[..., Session]] = dict(
    onnx=OnnxSession, openvino=OpenVinoSession, pt2=TorchSession,
    ncnn=NcnnSession, executorch=ExecuTorchSession, tflite=LiteRtSession)


def open_session(folder: str | Path, description: Description,
                 threads: int | None = None, precision: str = 'float32',
                 trust: bool = False) -> Session:
    """Open an exported model with the runtime of its format."""
    if description.format not in SESSIONS:
        raise UserError(f'{description.format} cannot be run here: export to '
                        f'{", ".join(SESSIONS)}')
    if (description.format == 'pt2' and not trust
            and not is_being_verified(folder)):
        raise UserError(
            f'opening {folder} may run code, as its format is pt2: if you '
            'trust its author, add --trust (--trust-config of the tools, '
            'trust=True in Python), or export to another format')
    return SESSIONS[description.format](
        Path(folder), description, threads, precision)
