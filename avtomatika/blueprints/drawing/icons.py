"""Icons: a sign for each kind of state, so that colour alone never carries the meaning. Drawn around (0, 0)."""

from __future__ import annotations

from avtomatika.blueprints.drawing.captions import Role

ROLE_ICONS: dict[Role, str] = {
    Role.START: '<path class="solid" d="M-2.8-4.4 4.6 0-2.8 4.4Z"/>',
    Role.PLAIN: '<circle class="solid" r="3"/>',
    Role.TASK: '<path class="solid" d="M1.4-6-4 1H-.4L-1.4 6 4-1H.4Z"/>',
    Role.AGGREGATOR: '<path d="M-4.6-4C-1-4-1.5 0 1 0M-4.6 4C-1 4-1.5 0 1 0H4.6M2.4-2.4 4.8 0 2.4 2.4"/>',
    Role.HUMAN: '<circle class="solid" cy="-2.6" r="2.4"/><path class="solid" d="M-4.4 4.8C-4.4.8 4.4.8 4.4 4.8Z"/>',
    Role.SLEEP: '<circle r="4.6"/><path d="M0-2.4V.2L1.8 1.6"/>',
    Role.CHILD: '<path d="M-4.4-4.4H1.6V1.6H-4.4ZM-1.4 1.6V4.4H4.4V-1.4H1.6"/>',
    Role.FINISHED: '<path d="M-4 .4-1.2 3.2 4-3"/>',
    Role.FAILED: '<path d="M-3.2-3.2 3.2 3.2M3.2-3.2-3.2 3.2"/>',
    Role.MISSING: '<path d="M-2.4-2.4C-2.4-5.4 2.6-5.4 2.4-2.4 2.3-.8 0-.8 0 1.2M0 4V4.2"/>',
}
"""What a state is for."""
BADGES: dict[str, str] = {
    "was": '<path d="M-3.2.2-1 2.6 3.2-2.4"/>',
    "is": '<path class="solid" d="M-2.2-3.4 3.6 0-2.2 3.4Z"/>',
    "no": '<path d="M0-3.6V.4M0 3.4V3.6"/>',
}
"""What happened there: the job was there, is there, or failed there."""
