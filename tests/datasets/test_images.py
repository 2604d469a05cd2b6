"""Images come in from folders and arrays, as they are or squared, and what is wrong with them is told."""

import numpy as np
import pytest

from sclaws import testing
from sclaws.datasets.images import Images
from sclaws.errors import DataError, PluginError
from sclaws.plugins import Spec

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def picture(height=6, width=6, channels=3, dtype=np.uint8):
    top = np.iinfo(dtype).max
    pixels = RNG.integers(0, top, (height, width, channels), endpoint=True).astype(dtype)
    return pixels if channels > 1 else pixels[..., 0]


@pytest.fixture
def folder(tmp_path):
    """Three classes of PNG images, whose pixels come back as they are."""
    pixels = {}
    for name in ("cat/1.png", "cat/2.png", "ape/1.png", "bee/deep/er.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pixels[name] = picture()
        Image.fromarray(pixels[name]).save(tmp_path / name)
    (tmp_path / "README.txt").write_text("photographs")
    (tmp_path / "cat" / "._1.png").write_bytes(b"what another system leaves behind")
    return tmp_path, pixels


def test_a_folder_comes_in_by_class_and_name(folder):
    path, pixels = folder
    adata = Images(str(path)).load()
    assert list(adata.obs_names) == ["ape/1.png", "bee/deep/er.png", "cat/1.png", "cat/2.png"]
    assert list(adata.obs["label"]) == ["ape", "bee", "cat", "cat"]
    assert adata.X.dtype == np.float32
    for name, row in zip(adata.obs_names, adata.X, strict=True):
        np.testing.assert_allclose(row.reshape(6, 6, 3), pixels[name] / 255, atol=1e-7)
    assert adata.var_names[25] == "y1x2c1"
    assert tuple(adata.var.iloc[25]) == (1, 2, 1)


def test_grey_is_as_pillow_has_it(folder):
    path, pixels = folder
    adata = Images(str(path), colour="grey").load()
    assert adata.n_vars == 36
    expected = np.asarray(Image.fromarray(pixels["ape/1.png"]).convert("L")).ravel()
    np.testing.assert_allclose(adata.X[0] * 255, expected, atol=0.51)  # Pillow rounds to bytes


def test_an_image_is_squared_about_its_middle_and_averaged_over_area(tmp_path):
    (tmp_path / "a").mkdir()
    wide = picture(6, 11)
    Image.fromarray(wide).save(tmp_path / "a" / "wide.png")
    Image.fromarray(picture(9, 6)).save(tmp_path / "a" / "tall.png")
    adata = Images(str(tmp_path), size=3).load()
    square = np.asarray(Image.fromarray(wide).crop((2, 0, 8, 6)).reduce(2))  # Pillow's averages of 2 x 2, in bytes
    np.testing.assert_allclose(adata.X[1].reshape(3, 3, 3) * 255, square, atol=0.51)
    larger = Images(str(tmp_path), size=12).load().X[1].reshape(12, 12, 3)
    np.testing.assert_allclose(larger, np.kron(wide[:, 2:8] / 255, np.ones((2, 2, 1))), atol=1e-6)


@pytest.mark.parametrize("kind", ["bmp", "gif", "pgm", "png", "tif", "webp"])
def test_kinds_of_files(tmp_path, kind):
    (tmp_path / "a").mkdir()
    grey = picture(5, 5, 1)
    Image.fromarray(grey).save(tmp_path / "a" / f"1.{kind.upper()}", **({"lossless": True} if kind == "webp" else {}))
    np.testing.assert_allclose(Images(str(tmp_path), colour="grey").load().X[0] * 255, grey.ravel(), atol=1e-3)


def test_sixteen_bits_keep_their_depth_and_cameras_may_lie_on_their_side(tmp_path):
    (tmp_path / "a").mkdir()
    deep, turned = picture(5, 5, 1, np.uint16), picture(5, 5)
    Image.fromarray(deep).save(tmp_path / "a" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    Image.fromarray(turned).save(tmp_path / "a" / "2.png", exif=exif)
    found = Images(str(tmp_path)).load().X.reshape(2, 5, 5, 3)
    np.testing.assert_allclose(found[0, ..., 1], deep / 65535, atol=1e-6)
    np.testing.assert_allclose(found[1], np.rot90(turned, -1) / 255, atol=1e-6)


@pytest.mark.parametrize("most", [65535, 4095])
def test_sixteen_bits_of_a_portable_map_go_from_black_to_its_white(tmp_path, most):
    (tmp_path / "a").mkdir()
    deep = RNG.integers(0, most, (5, 4), endpoint=True)
    (tmp_path / "a" / "1.pgm").write_bytes(b"P5 4 5 %d\n" % most + deep.astype(">u2").tobytes())
    np.testing.assert_allclose(Images(str(tmp_path), colour="grey").load().X[0], deep.ravel() / most, atol=1e-5)


def test_colours_under_what_is_transparent_count(tmp_path):
    (tmp_path / "a").mkdir()
    pixels = np.dstack([picture(), np.zeros((6, 6), np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
    np.testing.assert_allclose(Images(str(tmp_path)).load().X[0] * 255, pixels[..., :3].ravel(), atol=1e-4)


def test_a_class_may_be_a_link(folder, tmp_path):
    path, _ = folder
    study = tmp_path / "study"
    (study / "cat").mkdir(parents=True)
    Image.fromarray(picture()).save(study / "cat" / "1.png")
    (study / "other").symlink_to(path / "bee")
    assert list(Images(str(study)).load().obs_names) == ["cat/1.png", "other/deep/er.png"]


def test_labels_of_bytes_are_text(tmp_path):
    np.savez(tmp_path / "d.npz", images=np.zeros((5, 4, 4), np.uint8), labels=np.array([b"cat", b"ape"] * 3)[:5])
    assert list(Images(str(tmp_path / "d.npz"), classes=("cat",)).load().obs["label"]) == ["cat"] * 3


def test_classes_and_limit(folder):
    path, _ = folder
    adata = Images(str(path), classes=("cat", "bee")).load()
    assert list(adata.obs["label"].cat.categories) == ["bee", "cat"]
    two, three = (list(Images(str(path), limit=n).load().obs_names) for n in (2, 3))
    assert len(two) == 2
    assert set(two) < set(three)
    with pytest.raises(DataError, match="has no class 'cats'; did you mean 'cat'"):
        Images(str(path), classes=("cats",)).load()


def test_arrays_of_a_file(tmp_path):
    grey = picture(4, 5, 7).transpose(2, 0, 1)
    np.savez(tmp_path / "d.npz", x=grey, y=np.arange(7) % 3, floats=grey[..., None] / 255.0, bits=grey > 99)
    spec = {"use": "images", "path": "d.npz", "labels": "y", "colour": "grey"}
    adata = Spec.of("datasets", {**spec, "images": "x"}, tmp_path).build().load()
    np.testing.assert_allclose(adata.X, grey.reshape(7, -1) / 255, atol=1e-7)
    assert list(adata.obs_names) == [f"i{i}" for i in range(7)]
    assert list(adata.obs["label"]) == list("0120120")
    floats = Spec.of("datasets", {**spec, "images": "floats"}, tmp_path).build().load()
    np.testing.assert_allclose(floats.X, adata.X, atol=1e-7)
    assert set(np.unique(Images(str(tmp_path / "d.npz"), images="bits", labels="").load().X)) == {0.0, 1.0}
    repeated = Images(str(tmp_path / "d.npz"), images="x", labels="y").load()
    np.testing.assert_array_equal(repeated.X.reshape(7, -1, 3)[..., 2], adata.X)


def test_both_conform(folder, tmp_path):
    testing.conforms("datasets", Images(str(folder[0]), size=4))
    np.savez(tmp_path / "d.npz", images=picture(6, 6, 9).transpose(2, 0, 1), labels=list("aabbabbab"))
    testing.conforms("datasets", Images(str(tmp_path / "d.npz")))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": picture()}, "has no array 'images'; set images = to one of its arrays: x$"),
        ({"images": picture(4, 4, 7)}, r"has no array 'labels'; set labels = .*: images; or write labels = \"\""),
        ({"images": picture(4, 4, 1)}, r"'images' has shape \(4, 4\); \(n, h, w\) or"),
        ({"images": np.zeros((5, 3, 8, 8), np.uint8)}, r"shape \(5, 3, 8, 8\).* numpy.moveaxis\(images, 1, -1\)"),
        ({"images": np.zeros((5, 8, 8, 4), np.uint8)}, r"shape \(5, 8, 8, 4\).*leave the transparency out"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, r"shape \(0, 8, 8\)"),
        ({"images": np.zeros((5, 8, 8), np.int64)}, "is of int64; bytes"),
        ({"images": np.full((5, 8, 8), 255.0)}, r"values from 255 to 255; floats must lie in \[0, 1\]: divide by 255"),
        ({"images": np.full((5, 8, 8), np.nan)}, "values from nan to nan"),
        ({"images": np.zeros((5, 8, 8)), "labels": np.zeros(4)}, r"'labels' has shape \(4,\); one label for each"),
        ({"images": np.zeros((3, 8, 8)), "labels": np.array([1, 2, np.nan])}, "'labels': 1 labels are NaN; leave"),
        ({"images": np.array([{}, None])}, "cannot be read as an npz file .it holds Python objects.; write numbers"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)  # fmt: skip
def test_arrays_that_are_no_images(tmp_path, arrays, says):
    needed = {} if "labels" in says[:30] else {"labels": np.zeros(5)}
    np.savez(tmp_path / "d.npz", **{**needed, **arrays} if "images" in arrays else arrays)
    with pytest.raises(DataError, match=rf"d\.npz.*{says}"):
        Images(str(tmp_path / "d.npz")).load()


def test_files_that_are_no_npz(tmp_path):
    np.save(tmp_path / "one.npy", picture())
    with pytest.raises(DataError, match="one.npy holds one array without a name; write it with numpy.savez"):
        Images(str(tmp_path / "one.npy")).load()
    np.savez(tmp_path / "d.npz", images=picture(9, 9, 9), labels=np.zeros(9))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:500])
    with pytest.raises(DataError, match="cut.npz cannot be read as an npz file"):
        Images(str(tmp_path / "cut.npz")).load()
    with pytest.raises(DataError, match="none.npz does not exist; give a folder or an npz file"):
        Images(str(tmp_path / "none.npz")).load()


def test_folders_that_are_none(folder, tmp_path):
    path, _ = folder
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no images; put a sub-folder for each class there"):
        Images(str(tmp_path / "empty")).load()
    Image.fromarray(picture(7, 6)).save(path / "cat" / "2.png")
    with pytest.raises(DataError, match=r"cat/2.png is 6 x 7 pixels, and ape/1.png is 6 x 6; .* write size = 64, say"):
        Images(str(path)).load()
    Image.fromarray(picture()).save(path / "loose.png")
    with pytest.raises(DataError, match="loose.png lies in no sub-folder; a sub-folder is a class"):
        Images(str(path)).load()


def test_files_that_are_no_images(folder):
    path, _ = folder
    file = path / "cat" / "2.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2.png cannot be read as an image \(.*\); copy it again, or remove it"):
        Images(str(path)).load()
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"2.png cannot be read as an image \(it is none that Pillow knows\)"):
        Images(str(path)).load()
    file.unlink()
    Image.fromarray(np.zeros((6, 6), np.float32)).save(path / "cat" / "3.tif")
    with pytest.raises(DataError, match="3.tif has 32 bits a pixel, and what is white is not known"):
        Images(str(path)).load()
    frames = [Image.fromarray(picture()) for _ in range(3)]
    frames[0].save(path / "cat" / "3.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="3.tif holds 3 images; write each to a file of its own"):
        Images(str(path)).load()


def test_fields_are_checked():
    for fields in ({"size": 0}, {"limit": 0}, {"colour": "gray"}):
        with pytest.raises(PluginError, match=f"images: {next(iter(fields))} = "):
            Images("x", **fields)


def test_classes_need_labels(tmp_path):
    np.savez(tmp_path / "d.npz", images=picture(5, 5, 5))
    with pytest.raises(DataError, match=r"classes = \['a'\] needs labels; name their array"):
        Images(str(tmp_path / "d.npz"), labels="", classes=("a",)).load()


def test_the_digits_come_in(shared):
    path = str(shared / "data" / "mnist.npz")
    adata = Images(path, images="x_test", labels="y_test", colour="grey", limit=500).load()
    assert adata.shape == (500, 784)
    assert sorted(adata.obs["label"].unique()) == [str(digit) for digit in range(10)]
    with np.load(path) as stored:
        row = int(adata.obs_names[7][1:])
        np.testing.assert_allclose(adata.X[7] * 255, stored["x_test"][row].ravel(), atol=1e-4)


def test_photographs_come_in(shared, tmp_path):
    import tarfile

    with tarfile.open(shared / "data" / "caltech101_top10.tar") as tar:
        some = [member for member in tar.getmembers() if "/image_000" in member.name]
        tar.extractall(tmp_path, some, filter="data")
    adata = Images(str(tmp_path / "101_ObjectCategories"), size=32).load()
    assert adata.shape == (90, 32 * 32 * 3)
    assert adata.obs["label"].value_counts().tolist() == [9] * 10
    assert 0.3 < adata.X.mean() < 0.7
