"""Places in object storage, the folders that stand for them, and manifests."""

from __future__ import annotations

import pytest

from offcam_proto.errors import ConfigError, RunFolderError
from offcam_runs.objects.copies import fetch_video
from offcam_runs.objects.layout import Manifest, ObjectPlace, cache_folder, folder_of, place_of


def test_a_folder_is_a_copy_by_where_it_is_alone(tmp_path, monkeypatch):
    cache = cache_folder({"XDG_CACHE_HOME": "/cache"})
    assert cache == cache_folder({"HOME": "/home/me", "XDG_CACHE_HOME": "/cache"}) == "/cache/offcam/objects"
    assert cache_folder({"HOME": "/home/me"}) == "/home/me/.cache/offcam/objects"
    for url in ("s3://bucket", "s3://bucket/a/b", "gs://bucket/a", "az://box/a", "file:///a/b"):
        place = ObjectPlace.parse(url)
        assert place_of(folder_of(place, cache), cache) == place
    for folder in ("/runs/a", cache, f"{cache}/s3", f"{cache}/x/y", "/cache/offcam/objects2/s3/bucket"):
        assert place_of(folder, cache) is None
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME"):
        cache_folder({})
    fetch_video(tmp_path, "00" * 16, 0)  # nothing, where it is none


def test_a_manifest_of_a_later_version_is_refused():
    manifest = Manifest(run="a b", host="h", folder="/f", head=segments_key())
    assert Manifest.parse(manifest.data, "s3://b") == manifest
    later = manifest.data.replace(b'"version": 1', b'"version": 2')
    with pytest.raises(RunFolderError, match="version 2, this offcam knows versions up to 1: upgrade"):
        Manifest.parse(later, "s3://b")
    for other in (b"", b"[]", b"{}", later.replace(b"2", b'"x"', 1), manifest.data.replace(b"index/", b"../index/")):
        with pytest.raises(RunFolderError, match="of another program"):
            Manifest.parse(other, "s3://b")


def segments_key():
    return f"index/{'0' * 32}.sqlite3.gz"
