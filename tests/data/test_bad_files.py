"""Whatever is wrong with a file is a ClipError that names the file and the reason."""

import base64
import os
import pickle
import resource
import socket
import struct
import threading
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from kdvideo.data import ClipError, probe, read_frames, unreadable_clips
from kdvideo.data.video import container as opening
from kdvideo.data.video.container import open_video
from tests.data.videos import hide, picture, write_audio, write_video


def refused(path, reason):
    for read in (read_frames, probe):
        with pytest.raises(ClipError, match=reason) as info:
            read(path)
        assert info.value.path == str(path)
        assert str(path) in str(info.value)
        assert info.value.reason in str(info.value)


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_missing_and_not_a_file(tmp_path):
    """Fails when `_check_regular_file` lets pipes and folders through."""
    refused(tmp_path / "none.mp4", "no such file")
    refused(tmp_path, "not a regular file")
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for ever
    refused(tmp_path / "pipe.mp4", "not a regular file")
    with pytest.raises(ClipError, match="null"):
        read_frames("a\0b.mp4")
    refused(tmp_path / ("x" * 300 + ".mp4"), "too long")


TEXTS = {
    "<!DOCTYPE html><html><body>404</body></html>": "not a video but text, beginning with '<!DOCTYPE html",
    "#EXTM3U\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n": "not a video but text|[Ii]nvalid",
    "#EXTM3U\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n": "not a video but text|[Ii]nvalid",
    "ffconcat version 1.0\nfile {video}\n": "text",
    "ffconcat version 1.0\nfile {url}/a.mp4\n": "text",
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>': "text",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n": "[Ii]nvalid|text",
}


@pytest.mark.security
@pytest.mark.reliability("E6")
@pytest.mark.parametrize("text", TEXTS)
def test_pages_and_playlists_are_not_opened(tmp_path, text):
    """Fails when `FORMATS` holds playlists, or `_reason` does not know text."""
    write_video(tmp_path / "video.mp4", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        called = threading.Event()
        server.settimeout(0.3)

        def listen():
            try:
                server.accept()
                called.set()
            except TimeoutError:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        content = text.replace("{url}", url).replace("{video}", str(tmp_path / "video.mp4"))
        (tmp_path / "list.mp4").write_text(content)
        (tmp_path / "list.m3u8").write_text(content)
        refused(tmp_path / "list.mp4", TEXTS[text])
        refused(tmp_path / "list.m3u8", TEXTS[text])
        thread.join()
        assert not called.is_set()


class Canary:
    """A server on this machine that notes whether it was called."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(0.5)
        self.called = False
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()
        return self

    def _listen(self):
        try:
            self.server.accept()[0].close()
            self.called = True
        except TimeoutError:
            pass

    def __exit__(self, *_):
        self.thread.join()
        self.server.close()


EXTENSIONS = {"extension_picky": "0", "allowed_extensions": "ALL", "allowed_segment_extensions": "ALL"}
PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile {url}/a.mp4\n",
)


@pytest.mark.security
@pytest.mark.reliability("E6")
@pytest.mark.parametrize("text", PLAYLISTS)
def test_no_address_is_called_though_playlists_be_read(tmp_path, monkeypatch, text):
    """Fails when `protocol_whitelist` lets http through: the list of formats is out of the way here."""
    monkeypatch.setattr(opening, "FORMATS", opening.FORMATS + ",hls,concat")
    path = tmp_path / ("list.m3u8" if "EXTM3U" in text else "list.mp4")  # other names are no playlists of hls
    with Canary() as canary:
        path.write_text(text.replace("{url}", canary.url))
        with pytest.raises(ClipError):
            read_frames(path)
    assert not canary.called
    with Canary() as canary:  # the control: it is called where http is allowed
        path.write_text(text.replace("{url}", canary.url))
        with pytest.raises(av.FFmpegError):
            av.open(f"file:{path}", container_options={"safe": "0", "protocol_whitelist": "file,http,tcp"})
    assert canary.called


@pytest.mark.security
@pytest.mark.reliability("E6")
def test_the_allow_list_of_protocols_holds_alone(tmp_path, monkeypatch):
    """Fails when `protocol_whitelist` is left out: FFmpeg's own lets `data` and `crypto` through.

    The list of formats and FFmpeg's look at extensions are out of the way here.
    """
    write_video(tmp_path / "a.ts", [picture(1, 16, 16)])  # a line of a playlist has 4096 bytes at most
    data = base64.b64encode((tmp_path / "a.ts").read_bytes()).decode()
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ndata:video/mp2t;base64,{data}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(text)
    monkeypatch.setattr(opening, "FORMATS", opening.FORMATS + ",hls")
    open_as_is = av.open

    def open_any(url, container_options, **more):
        return open_as_is(url, container_options=container_options | EXTENSIONS, **more)

    monkeypatch.setattr(av, "open", open_any)
    with av.open(f"file:{tmp_path}/list.m3u8", {}) as control:
        assert len(list(control.decode(video=0))) == 1
    with pytest.raises(ClipError):
        read_frames(tmp_path / "list.m3u8")


def test_pictures_are_not_videos(tmp_path):
    with av.open(str(tmp_path / "a.png"), "w", format="image2", options={"update": "1"}) as container:
        out = container.add_stream("png", rate=1)
        out.width, out.height, out.pix_fmt = 64, 48, "rgb24"
        container.mux(out.encode(av.VideoFrame.from_ndarray(picture(1), "rgb24")))
    os.rename(tmp_path / "a.png", tmp_path / "a.mp4")
    refused(tmp_path / "a.mp4", "unknown container")


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_empty_and_audio_only(tmp_path):
    """Fails when `_video_stream` takes a cover picture for a video."""
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "the file is empty")
    write_audio(tmp_path / "audio.mp4")
    refused(tmp_path / "audio.mp4", r"no video stream \(the file holds: audio\)")
    write_audio(tmp_path / "cover.mp4", cover=True)
    refused(tmp_path / "cover.mp4", "no video stream")


@pytest.mark.faults
@pytest.mark.reliability("B2")
@pytest.mark.parametrize("name", ["a.mp4", "faststart.mp4", "b.avi"])
@pytest.mark.parametrize("part", [0.02, 0.4, 0.8, 0.95])
def test_truncated(tmp_path, name, part):
    """Fails when `file_timeline` does not call `_check_whole`."""
    options = {"movflags": "faststart"} if "fast" in name else {}
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / name, noise, container_options=options, codec=codec, fmt=name[-3:])
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
    refused(tmp_path / name, "truncated: [0-9]+ of the 40 frames|truncated: its end is missing|damaged")


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_no_frames(tmp_path):
    """Fails when `file_timeline` goes on without a decoded frame."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        out = container.add_stream("libx264", rate=10)
        out.width, out.height, out.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    refused(tmp_path / "a.mp4", r"no video stream \(the file holds: nothing\)")
    write_video(tmp_path / "a.webm", 3, codec="libvpx", options={"cpu-used": "8", "deadline": "realtime"})
    hide(tmp_path / "a.webm", range(3))
    refused(tmp_path / "a.webm", "no video frame in it can be decoded")


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_avi_with_empty_chunks_is_whole(tmp_path):
    """Fails when `packets < stream.frames` judges AVI files too."""
    write_video(tmp_path / "a.avi", 20, codec="mpeg4", stamps=[*range(10), *range(15, 25)])
    with av.open(str(tmp_path / "a.avi")) as container:
        assert container.streams.video[0].frames == 25
    assert len(read_frames(tmp_path / "a.avi")) == probe(tmp_path / "a.avi").length == 20


CUT = {
    "frag.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "10"}},
    "a.avi": {"codec": "mpeg4", "stamps": [*range(20), *range(30, 50)]},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "a.ts": {},
    "a.m2ts": {"fmt": "mpegts", "container_options": {"mpegts_m2ts_mode": "1"}},
    "a.mpg": {"codec": "mpeg2video", "rate": 25, "fmt": "mpeg"},
    "a.flv": {},
    "a.asf": {"codec": "mpeg4", "fmt": "asf"},
    "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}


@pytest.mark.faults
@pytest.mark.parametrize("name", CUT)
def test_every_container_tells_that_its_end_is_missing(tmp_path, name):
    """Fails when the rule of the container in `truncation.RULES` gives False."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / name, noise, **CUT[name])
    assert probe(tmp_path / name).length == 40
    whole = (tmp_path / name).read_bytes()
    for part in (0.5, 0.7, 0.97):
        cut = int(len(whole) * part)  # odd: between two packets of ts or mpg it cannot be seen
        (tmp_path / name).write_bytes(whole[: cut | 1])
        refused(tmp_path / name, "truncated|damaged")


@pytest.mark.faults
@pytest.mark.reliability("B2")
@pytest.mark.parametrize("name", [*CUT, "faststart.mp4"])
def test_an_end_of_zeros_is_missing(tmp_path, name):
    """Fails when `is_cut` does not look for zeros: downloads are given their room before their contents."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / name, noise, **CUT.get(name, {"container_options": {"movflags": "faststart"}}))
    whole = (tmp_path / name).read_bytes()
    assert len(whole) > 25_000
    (tmp_path / name).write_bytes(whole[:-20_000] + bytes(20_000))
    refused(tmp_path / name, "truncated|damaged")


@pytest.mark.faults
@pytest.mark.parametrize(("codec", "cut"), [("pcm_s16le", False), ("aac", True)])
def test_silence_that_is_not_coded_is_no_missing_end(tmp_path, codec, cut):
    """Fails when an end of zeros is looked for whatever the sound is: silence is zeros where it is not coded."""
    path = tmp_path / "a.mov"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video, sound = container.add_stream("libx264", rate=10), container.add_stream(codec, rate=48000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame(64, 48, "rgb24")))
        container.mux(video.encode(None))
        for start in range(0, 48000, 4800):  # it outlasts the pictures
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
            silence.sample_rate, silence.pts = 48000, start
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    if cut:
        path.write_bytes(path.read_bytes() + (8 + 20_000).to_bytes(4, "big") + b"mdat" + bytes(20_000))
        refused(path, "truncated: its end is missing")
    else:
        assert not any(path.read_bytes()[-20_000:])
        assert probe(path).length == 5


def test_fields_of_a_camcorder_are_not_frames(shared):
    """Fails when interlaced video is counted by its packets."""
    path = shared / "faults" / "video" / "09_real_avchd_fields.mts"
    if not path.exists():
        pytest.skip("no recording of a camcorder in the shared folder")
    assert probe(path).length == len(read_frames(path, short_side=48)) == 13
    for fps in (12.5, 25, 30, 50, 60):
        assert len(read_frames(path, fps=fps, short_side=48)) == probe(path, fps=fps).length


@pytest.mark.faults
@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), MemoryError(), IndexError("x")])
def test_every_exception_of_a_decoder_becomes_a_clip_error(tmp_path, error):
    """Fails when `open_video` catches `av.FFmpegError` alone."""
    write_video(tmp_path / "a.mp4", 2)
    with pytest.raises(ClipError, match=type(error).__name__), open_video(tmp_path / "a.mp4"):
        raise error


def test_devices_are_not_opened():
    refused("/dev/zero", "not a regular file")


def test_damage_in_the_middle_spares_the_windows_before_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mkv", noise, codec="ffv1", options={"slicecrc": "1", "g": "5"})
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    half = len(data) // 2
    data[half : half + 9000] = os.urandom(9000)
    good = read_frames(tmp_path / "a.mkv", window=range(5)) if _readable(tmp_path / "a.mkv") else None
    (tmp_path / "a.mkv").write_bytes(data)
    assert torch.equal(read_frames(tmp_path / "a.mkv", window=range(5)), good)
    with pytest.raises(ClipError):
        read_frames(tmp_path / "a.mkv")


def _readable(path):
    return probe(path).length == 30


def _png(side):
    """A black picture of `side` x `side`, some hundred kB."""
    pack = zlib.compressobj(1)
    body = b"".join(pack.compress(bytes(side + 1)) for _ in range(side)) + pack.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.security
@pytest.mark.reliability("B6")
@pytest.mark.parametrize("declared", [64, 10000])
def test_bombs_are_refused_before_memory_is_taken(tmp_path, declared):
    """Fails when `open_video` does not give `max_pixels` to the decoder.

    Pictures of 10000 x 10000, in a file that says so or one that says 64 x 64.
    """
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        out = container.add_stream("png", rate=1)
        out.width, out.height, out.pix_fmt = 64, 64, "gray"
        for time in range(2):
            packet = av.Packet(_png(10000))
            packet.stream, packet.time_base, packet.pts, packet.dts = out, Fraction(1), time, time
            container.mux(packet)
    data = (tmp_path / "a.mov").read_bytes()
    size = (64).to_bytes(2, "big") * 2
    at = data.index(size, data.index(b"stsd"))
    data = data[:at] + declared.to_bytes(2, "big") * 2 + data[at + 4 :]
    (tmp_path / "a.mov").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "a.mov", "more than [0-9]+ pixels")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.security
@pytest.mark.reliability("B6")
def test_clips_that_would_fill_the_memory_are_refused(tmp_path):
    """Fails when the limit of `_grid` or of `_size` is taken away."""
    write_video(tmp_path / "a.mp4", 2, stamps=[0, 3600], rate=1)
    with pytest.raises(ClipError, match="bytes"):
        read_frames(tmp_path / "a.mp4", fps=500)
    with pytest.raises(ClipError, match="claims to last"):
        probe(tmp_path / "a.mp4", fps=9000)
    with pytest.raises(ClipError, match="not made"):
        read_frames(tmp_path / "a.mp4", short_side=20000)


def test_part_after_the_end(tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    with pytest.raises(ClipError, match=r"last frame is at 0\.90 s, before the start at 5\.00 s"):
        read_frames(tmp_path / "a.mp4", start=5)


def test_the_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(ClipError("a/b.mp4", "is empty")))
    assert (error.path, error.reason, str(error)) == ("a/b.mp4", "is empty", "a/b.mp4: is empty")


class Frames(torch.utils.data.Dataset):
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return read_frames(self.paths[index], short_side=32)


@pytest.mark.timeout(120)
def test_forked_workers_read_after_the_parent_did_and_hand_errors_on(tmp_path):
    write_video(tmp_path / "a.mp4", 5)
    (tmp_path / "b.mp4").touch()
    read_frames(tmp_path / "a.mp4", short_side=32)
    good = DataLoader(Frames([tmp_path / "a.mp4"] * 4), num_workers=2, multiprocessing_context="fork")
    assert [tuple(batch.shape) for batch in good] == [(1, 5, 3, 32, 43)] * 4
    bad = DataLoader(Frames([tmp_path / "b.mp4"]), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(ClipError, match=r"b\.mp4: the file is empty"):
        list(bad)


def test_clips_are_looked_for_by_their_packets_or_by_all_frames(tmp_path):
    """Fails when `decode` reads the packets alone."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mkv", noise, codec="ffv1", options={"slicecrc": "1", "g": "5"})
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = np.random.default_rng(1).bytes(9000)
    (tmp_path / "a.mkv").write_bytes(data)
    rows = [{"path": str(tmp_path / "a.mkv"), "clip": "a.mkv", "start": None, "end": None}]
    assert list(unreadable_clips(rows, decode=True)) == ["a.mkv"]
    assert unreadable_clips(rows) == {}
