"""A robot with two driven wheels in a room: where it is, what it bumps into, how far it sees. No clock, no network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

RADIUS = 0.28
"""Metres, as all lengths here."""
TRACK = 0.44
"""Between the wheels."""
TOP_SPEED = 1.6
"""Of a wheel, in metres a second."""
ACCELERATION = 4.0
RAYS = 48
RANGE = 4.0
"""How far the range finder sees."""


@dataclass(frozen=True)
class Box:
    """A wall or a piece of furniture, parallel to the walls."""

    x: float
    y: float
    width: float
    height: float

    def distance(self, x: float, y: float) -> float:
        """From a point to the nearest edge."""
        return math.hypot(max(self.x - x, 0, x - self.x - self.width), max(self.y - y, 0, y - self.y - self.height))

    def hit(self, x: float, y: float, dx: float, dy: float) -> float:
        """How far a ray goes from a point outside before it meets the box; infinite if it does not."""
        near, far = 0.0, math.inf
        for at, step, low, high in ((x, dx, self.x, self.x + self.width), (y, dy, self.y, self.y + self.height)):
            if abs(step) < 1e-12:
                if not low <= at <= high:
                    return math.inf
                continue
            first, last = sorted(((low - at) / step, (high - at) / step))
            near, far = max(near, first), min(far, last)
        return near if near <= far else math.inf


@dataclass(frozen=True)
class Room:
    """The walls and what stands between them."""

    width: float = 12.0
    height: float = 7.5
    furniture: tuple[Box, ...] = (
        Box(2.2, 1.5, 1.5, 0.8),
        Box(5.4, 0.0, 0.35, 2.9),
        Box(5.4, 4.6, 0.35, 2.9),
        Box(8.0, 2.4, 1.7, 1.2),
        Box(9.6, 5.6, 1.1, 1.1),
        Box(2.6, 5.0, 1.0, 1.0),
    )

    def has_room(self, x: float, y: float) -> bool:
        """Whether the robot can stand there."""
        inside = RADIUS <= x <= self.width - RADIUS and RADIUS <= y <= self.height - RADIUS
        return inside and all(box.distance(x, y) >= RADIUS for box in self.furniture)

    def look(self, x: float, y: float, angle: float) -> float:
        """How far one sees in a direction."""
        dx, dy = math.cos(angle), math.sin(angle)
        walls = []
        if dx:
            walls.append(((self.width if dx > 0 else 0) - x) / dx)
        if dy:
            walls.append(((self.height if dy > 0 else 0) - y) / dy)
        return min(RANGE, *walls, *(box.hit(x, y, dx, dy) for box in self.furniture))


@dataclass
class Body:
    """The robot. Wheels are driven from -1 to 1; they need a moment to follow."""

    room: Room = field(default_factory=Room)
    x: float = 1.2
    y: float = 3.75
    heading: float = 0.0
    """Radians, from the x axis towards the y axis, which points down on the page."""
    left: float = 0.0
    right: float = 0.0
    """Speeds of the wheels in metres a second. They slip where something is in the way."""
    speed: float = 0.0
    """Of the robot, forwards."""
    bumped: bool = False
    _wanted: tuple[float, float] = (0.0, 0.0)

    def drive(self, left: float, right: float) -> None:
        self._wanted = (_bounded(left) * TOP_SPEED, _bounded(right) * TOP_SPEED)

    def step(self, seconds: float) -> None:
        """Let so much time pass: a small step, such as a fiftieth of a second."""
        most = ACCELERATION * seconds
        self.left += _bounded((self._wanted[0] - self.left) / most) * most
        self.right += _bounded((self._wanted[1] - self.right) / most) * most
        turn = (self.left - self.right) / TRACK * seconds
        ahead = (self.left + self.right) / 2 * seconds
        dx, dy = ahead * math.cos(self.heading + turn / 2), ahead * math.sin(self.heading + turn / 2)
        self.heading = math.remainder(self.heading + turn, math.tau)
        # Along a wall, if not through it.
        ways = [(self.x + dx, self.y + dy), (self.x + dx, self.y), (self.x, self.y + dy), (self.x, self.y)]
        x, y = next(way for way in ways if self.room.has_room(*way))
        self.bumped = (x, y) != ways[0]
        self.speed = math.copysign(math.hypot(x - self.x, y - self.y) / seconds, ahead)
        self.x, self.y = x, y

    def ranges(self) -> list[float]:
        """What the range finder sees, all around, beginning straight ahead."""
        return [round(self.room.look(self.x, self.y, self.heading + n * math.tau / RAYS), 3) for n in range(RAYS)]


def _bounded(value: float) -> float:
    return min(max(value, -1.0), 1.0) if value == value else 0.0  # NaN stops it.
