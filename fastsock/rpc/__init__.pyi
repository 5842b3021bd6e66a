"""Remote procedure calls: typed stubs and skeletons over fastsock's sockets."""

from fastsock.rpc.client.calls import Call as Call, Stream as Stream
from fastsock.rpc.context import (
    Context as Context,
    Ending as Ending,
    current as current,
    deadline as deadline,
    metadata as metadata,
)
from fastsock.rpc.errors import (
    BadRequest as BadRequest,
    BodyTooLarge as BodyTooLarge,
    Cancelled as Cancelled,
    ConnectionLost as ConnectionLost,
    DeadlineExceeded as DeadlineExceeded,
    Forbidden as Forbidden,
    InterfaceMismatch as InterfaceMismatch,
    OutcomeUnknown as OutcomeUnknown,
    Overloaded as Overloaded,
    RemoteError as RemoteError,
    RpcError as RpcError,
    Unavailable as Unavailable,
    UnknownMethod as UnknownMethod,
    VersionMismatch as VersionMismatch,
    WrongArguments as WrongArguments,
    WrongResult as WrongResult,
)
from fastsock.rpc.interface import Service as Service, method as method
from fastsock.rpc.server.server import Server as Server, serve as serve
from fastsock.rpc.stub import close as close, connect as connect
