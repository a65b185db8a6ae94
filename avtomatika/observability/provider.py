"""Whether spans are made: if the program has a tracer provider, or a collector is named.

OpenTelemetry is loaded only then.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from avtomatika.errors import ConfigError

if TYPE_CHECKING:
    from avtomatika.observability.spans import Spans


def open_spans(endpoint: str, service: str, instance: str, provider: Any = None) -> Spans | None:
    """Returns where spans go, or None if nobody wants any.

    The provider given counts first, then one that the program has set with ``opentelemetry.trace.set_tracer_provider``,
    then the collector.

    Args:
        endpoint: base address of a collector, or empty.
        service: name of the service, for the collector.
        instance: name of this process, for the collector.
        provider: a tracer provider, or None.

    Raises:
        ConfigError: a collector is named, but the packages are not installed.
    """
    if provider is None:
        provider = _global_provider()
    if provider is None and not endpoint:
        return None
    try:
        from avtomatika.observability.spans import Spans, otlp_spans  # noqa: PLC0415 - only where it is wanted
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"traces need packages that are not installed here ({error.name}). Run "
            "pip install 'avtomatika[telemetry]', or unset OTEL_EXPORTER_OTLP_ENDPOINT."
        ) from error
    if provider is not None:
        return Spans(provider)
    return otlp_spans(endpoint, service, instance)


def _global_provider() -> Any:
    """Returns the provider that the program has set, or None."""
    module: Any = sys.modules.get("opentelemetry.trace")
    if module is None:
        return None
    provider = module.get_tracer_provider()
    return None if isinstance(provider, module.ProxyTracerProvider) else provider
