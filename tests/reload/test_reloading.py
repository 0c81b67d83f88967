"""When files are read again, and what is made of it: by hand, without a clock."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from sidecar.config.load import Examination, examine
from sidecar.config.model import Config
from sidecar.reloading import RETRY_SECONDS, Reloader, ReloadError

CONFIG = (
    "version: 1\ninbound: {app: 'http://127.0.0.1:80', rules: [{paths: [/a], allow: anyone}]}\n"
)


class Rig:
    """A reloader over one file, what it installed, and what it counted."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sidecar.yaml"
        self.path.write_text(CONFIG)
        self.installed: list[Config] = []
        self.counted: list[bool] = []
        self.refuse: ReloadError | Exception | None = None
        self.now = 100.0
        self.examined = 0
        self.reloader = Reloader(
            self._examine,
            self._install,
            files=examine([str(self.path)]).files,
            reloaded=lambda successful, _at: self.counted.append(successful),
            clock=lambda: self.now,
            wall_clock=lambda: 1_800_000_000.0,
        )

    def _examine(self) -> Examination:
        self.examined += 1
        return examine([str(self.path)])

    async def _install(self, config: Config, _warnings: Sequence[str]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.installed.append(config)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    async def look(self, times: int) -> None:
        for _ in range(times):
            await self.reloader.look()


async def test_nothing_changed(tmp_path: Path) -> None:
    """Files that are as they were are not even examined."""
    rig = Rig(tmp_path)
    await rig.look(3)
    assert (rig.examined, rig.installed, rig.counted, rig.reloader.last) == (0, [], [], None)


async def test_a_change_is_read_once_it_has_come_to_rest(tmp_path: Path) -> None:
    """A file of which half is written may be a whole configuration, of half the rules."""
    rig = Rig(tmp_path)
    rig.write(CONFIG.replace("/a", "/half"))
    await rig.look(1)
    rig.write(CONFIG.replace("/a", "/b"))
    await rig.look(1)
    assert rig.installed == []
    await rig.look(1)
    assert [config.inbound.rules[0].paths for config in rig.installed] == [("/b",)]
    await rig.look(2)
    assert len(rig.installed) == 1
    assert rig.counted == [True]


async def test_a_change_that_is_taken_back(tmp_path: Path) -> None:
    """What is as it was before the second look never changed."""
    rig = Rig(tmp_path)
    rig.write(CONFIG.replace("/a", "/b"))
    await rig.look(1)
    rig.write(CONFIG)
    await rig.look(3)
    assert rig.examined == 0


async def test_what_is_wrong_is_said_once_and_the_old_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken file is counted and told with its line; mended, it is used."""
    rig = Rig(tmp_path)
    rig.write(CONFIG.replace("rules", "rulez"))
    await rig.look(5)
    assert (rig.examined, rig.installed, rig.counted) == (1, [], [False])
    assert rig.reloader.last is not None
    (problem,) = rig.reloader.last.problems
    assert problem.endswith("inbound.rulez: unknown key (did you mean `rules`?)")
    assert problem in caplog.text
    rig.write(CONFIG)
    await rig.look(2)
    assert rig.counted == [False, True]


async def test_a_file_that_is_gone_comes_back(tmp_path: Path) -> None:
    """A path that cannot be read is looked at again: it may be there in a moment."""
    rig = Rig(tmp_path)
    rig.path.unlink()
    await rig.look(3)
    assert rig.counted == [False]
    rig.write(CONFIG.replace("/a", "/b"))
    await rig.look(2)
    assert rig.counted == [False, True]


async def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    """An issuer that is down, or a port that is taken, is nothing that the file could mend."""
    rig = Rig(tmp_path)
    rig.refuse = ReloadError(["issuer shop: keys not loaded"], may_pass=True)
    rig.write(CONFIG.replace("/a", "/b"))
    await rig.look(4)
    assert rig.counted == [False]
    rig.refuse = None
    rig.now += RETRY_SECONDS - 0.1
    await rig.look(1)
    assert rig.counted == [False]
    rig.now += 0.2
    await rig.look(1)
    assert rig.counted == [False, True]
    rig.now += RETRY_SECONDS * 2
    await rig.look(2)
    assert rig.counted == [False, True]


async def test_what_cannot_pass_is_not(tmp_path: Path) -> None:
    """A key that takes a restart will take one in a minute too."""
    rig = Rig(tmp_path)
    rig.refuse = ReloadError(["admin.listen: cannot change without a restart"])
    rig.write(CONFIG.replace("/a", "/b"))
    await rig.look(2)
    rig.now += RETRY_SECONDS * 2
    await rig.look(2)
    assert rig.counted == [False]


async def test_a_defect_of_ours(tmp_path: Path) -> None:
    """What nobody expected ends the reload and not the sidecar, and shows no value."""
    rig = Rig(tmp_path)
    rig.refuse = ZeroDivisionError("secret")
    outcome = await rig.reloader.reload()
    assert (outcome.result, outcome.problems) == (
        "refused",
        ("a defect of the sidecar: ZeroDivisionError",),
    )


async def test_one_at_a_time(tmp_path: Path) -> None:
    """However many ask, attempts do not overlap, and each gets an answer."""
    rig = Rig(tmp_path)
    outcomes = await asyncio.gather(*(rig.reloader.reload() for _ in range(4)))
    assert [each.result for each in outcomes] == ["reloaded"] * 4
    assert rig.counted == [True] * 4


async def test_files_that_are_referred_to(tmp_path: Path) -> None:
    """A secret or a key beside the configuration is looked at like the configuration."""
    rig = Rig(tmp_path)
    audience = tmp_path / "audience"
    audience.write_text("one\n")
    rig.write(
        CONFIG
        + f"issuers: {{shop: {{issuer: 'https://a.example', audiences: ['file:{audience}']}}}}"
    )
    await rig.look(2)
    audience.write_text("two\n")
    await rig.look(2)
    assert [config.issuers["shop"].audiences for config in rig.installed] == [("one",), ("two",)]


async def test_a_projected_volume(tmp_path: Path) -> None:
    """Kubernetes replaces the link of a directory; the path and its link stay the same."""
    for version, path in (("1", "/a"), ("2", "/b")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.yaml").write_text(CONFIG.replace("/a", path))
    (tmp_path / "data").symlink_to("1")
    rig = Rig(tmp_path)
    rig.path.unlink()
    rig.path.symlink_to("data/config.yaml")
    await rig.look(2)
    assert rig.counted == []
    (tmp_path / "data_tmp").symlink_to("2")
    (tmp_path / "data_tmp").rename(tmp_path / "data")
    await rig.look(2)
    assert [config.inbound.rules[0].paths for config in rig.installed] == [("/b",)]
