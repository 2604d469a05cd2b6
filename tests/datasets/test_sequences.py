"""Proteins of hand-made files: what they become, and what is wrong with them, in a sentence."""

import gzip
import time

import numpy as np
import pytest

from sclaws.datasets.sequences import Sequences
from sclaws.errors import DataError
from sclaws.plugins import Spec
from sclaws.residues import AMINO_ACIDS, GAP, PADDING, UNKNOWN

TABLE = "name\tday\tclade\tprotein\na\t2001-07-02\t3\tMKV\nb\t2002.5\t4\tmk-L*\nc\t2003-07-02\t3\tMKV\n"


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def to(name, text):
        path = tmp_path / name
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return to


def codes(text):
    return [AMINO_ACIDS.find(letter) if letter in AMINO_ACIDS else {"X": UNKNOWN, "-": GAP, "_": PADDING}[letter]
            for letter in text]  # fmt: skip


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz", "t.csv", "t.txt"])
def test_a_table_is_read(write, name):
    text = TABLE.replace("\t", ",") if ".csv" in name else TABLE
    found = Sequences(write(name, text), sequence="protein", id="name", date="day").load()
    assert list(found.obs_names) == ["a", "b", "c"]
    assert found.X.dtype == np.int8
    assert found.X.tolist() == [codes("MKV_"), codes("MK-L"), codes("MKV_")]
    assert list(found.var["position"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(found.obs["date"], [2001.5, 2002.5, 2003.5], atol=1e-9)
    assert found.obs["clade"].tolist() == [3, 4, 3]
    assert found.obs["clade"].dtype == np.int64
    assert list(found.obs["identical_to"]) == ["a", "b", "a"]
    assert "protein" not in found.obs
    assert found.uns["dropped"] == {"dates": 0, "letters": 0}


def test_a_stop_at_the_end_does_not_part_copies(write):
    found = Sequences(write("p.fa", ">a\nMKV\n>b\nmkv*\n>c\nMKL*\n")).load()
    assert found.X[0].tolist() == found.X[1].tolist()
    assert list(found.obs["identical_to"]) == ["a", "a", "c"]


def test_an_alignment_of_gaps_mostly_is_one_of_proteins(write):
    found = Sequences(write("p.fa", f">a\n{'-' * 95}MKVLW\n>b\n{'-' * 96}MKVL\n")).load()
    assert found.shape == (2, 100)
    with pytest.raises(DataError, match=r"look like nucleotides \(100%"):
        Sequences(write("n.fa", f">a\n{'-' * 95}ACGTA\n")).load()


@pytest.mark.parametrize("name", ["p.fasta", "p.faa.gz", "p.txt"])
def test_fasta_is_read_and_joined(write, name):
    path = write(name, ">b|1 some virus\r\nMK\r\nVW\r\n\r\n>a\nMXBzjuo\n")
    table = write("meta.csv", "strain,day,host\nz,?,cat\na,2001-07-02,dog\nb|1,2002-07-02,\n")
    found = Sequences(path).load()
    assert list(found.obs_names) == ["b|1", "a"]
    assert found.X.tolist() == [codes("MKVW___"), codes("MXXXXXX")]
    joined = Sequences(path, metadata_path=table, metadata_id="strain", date="day").load()
    np.testing.assert_allclose(joined.obs["date"], [2002.5, 2001.5], atol=1e-9)
    assert joined.obs["host"].isna().tolist() == [True, False]


def test_records_without_names_are_numbered_and_imprecise_ones_dropped(write):
    path = write("t.tsv", "sequence\tdate\texact\nMKVLL\t2001\tyes\nMKW\t2002.5\tno\nMK\t2003.5\tyes\n")
    found = Sequences(path, date="date", precise="exact", imprecise="drop").load()
    assert list(found.obs_names) == ["3"]
    assert found.shape == (1, 2), "positions that only records left out had are gone"
    assert found.uns["dropped"] == {"dates": 2, "letters": 0}
    assert Sequences(path, date="date", imprecise="middle").load().obs["date"].tolist() == [2001.5, 2002.5, 2003.5]


def test_numbers_with_holes_are_floats_and_text_with_holes_is_missing(write):
    found = Sequences(write("t.tsv", "sequence\tage\tplace\nMK\t3\there\nMW\t\t\n")).load().obs
    np.testing.assert_array_equal(found["age"], [3.0, np.nan])
    assert found["place"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("letters", "names"), [("drop", ["1", "3"]), ("unknown", ["1", "2", "3"])])
def test_letters_that_are_no_residue(write, letters, names):
    path = write("t.tsv", "sequence\nMKV\nM*V\nMW\n")
    with pytest.raises(DataError, match=r"record '2', position 2: '\*' is no residue \(1 records .*letters = \"drop\""):
        Sequences(path).load()
    found = Sequences(path, letters=letters).load()
    assert list(found.obs_names) == names
    assert found.uns["dropped"]["letters"] == 3 - len(names)
    assert (found.X[1].tolist() == codes("MXV")) == (letters == "unknown")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.fa", ">a\nMKé\n", "record 'a', position 3: 'é' is no residue"),
        ("p.fa", ">a\nMKV\n>b\nMK1V\n>c\n?\n", r"record 'b', position 3: '1' is no residue \(2 records"),
        ("p.fa", ">a\nMK\n>b\n>c\nMK\n", "record 'b' has no residues; remove it"),
        ("p.fa", ">a\n*\n", "record 'a' has no residues"),
        ("p.fa", ">a\nMK\n>b\n--\n", "record 'b' has no residues"),
        ("p.fa", ">a x\nMK\n>a y\nMW\n", "1 names occur more than once, the first is 'a'"),
        ("p.fa", ">a\nMK\n> b\nMW\n>\nMW\n", "record 3 has no name"),
        ("p.fa", "MKV\n", "begins with 'MKV', and a FASTA file with a header >name"),
        ("p.fa", "  \n", "is empty; give a file with at least one record"),
        ("p.fa", ">a\nACGTACGT\n>b\nACGTNRACGTGTCAGC\n", r"look like nucleotides \(96% .*translate first"),
        ("p.tsv", "sequence\tid\n", r"has a line of names \(sequence, id\) and no records"),
        ("p.tsv", "sequence\tid\nMK\ta\nMW\n", "record 2 has 1 fields, and there are 2 columns"),
        ("p.tsv", "sequence\tid\tid\nMK\ta\tb\n", "two columns are called 'id'"),
        ("p.csv", 'sequence,id\nMK,"a\nMW,b\n', "cannot be read as a table: line 3"),
        ("p.tsv", "sequences\tid\nMK\ta\n", r"no column 'sequence' \(field 'sequence'\); did you mean 'sequences'"),
    ],
)
def test_what_is_wrong_is_named(write, name, text, told):
    with pytest.raises(DataError, match=told):
        Sequences(write(name, text)).load()


def test_files_that_cannot_be_read(write, tmp_path):
    with pytest.raises(DataError, match=r"none\.fa does not exist"):
        Sequences(str(tmp_path / "none.fa")).load()
    with pytest.raises(DataError, match="is a folder"):
        Sequences(str(tmp_path)).load()
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(TABLE.encode())[:-9])
    with pytest.raises(DataError, match="cannot be unpacked .*copy it again"):
        Sequences(str(tmp_path / "cut.tsv.gz")).load()
    (tmp_path / "bytes.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="no text in UTF-8"):
        Sequences(str(tmp_path / "bytes.tsv")).load()


def test_dates_that_are_missing_from_a_file(write):
    path = write("p.fa", ">a\nMK\n>b\nMW\n")
    few, twice = write("few.tsv", "id\tdate\nb\t2001.5\n"), write("twice.tsv", "id\tdate\na\t1\nb\t2\na\t3\n")
    with pytest.raises(DataError, match=r"1 of 2 records have no row, the first is 'a'; metadata_id .* is 'b'"):
        Sequences(path, metadata_path=few, date="date").load()
    with pytest.raises(DataError, match="'a' occurs more than once in column 'id'"):
        Sequences(path, metadata_path=twice).load()
    with pytest.raises(DataError, match="no column 'name' .field 'metadata_id'"):
        Sequences(path, metadata_path=few, metadata_id="name").load()
    with pytest.raises(DataError, match=r"no column 'date' \(field 'date'\)"):
        Sequences(path, date="date").load()
    with pytest.raises(DataError, match="is a table, .* metadata_path goes with FASTA"):
        Sequences(few, metadata_path=few).load()


def test_content_of_both_files_counts(write, tmp_path):
    write("p.fa", ">a\nMK\n")
    fields = {"use": "sequences", "path": "p.fa", "metadata_path": "m.tsv"}
    described = []
    for day in ("2001.5", "2002.5"):
        write("m.tsv", f"id\tdate\na\t{day}\n")
        described.append(Spec.of("datasets", fields, tmp_path).describe())
    assert described[0] != described[1]


def test_influenza_loads_quickly(shared):
    path = str(shared / "data" / "h3n2_ha1.tsv.gz")
    started = time.process_time()
    found = Sequences(
        path, sequence="aa", date="decimal_date", precise="date_precise", imprecise="drop", letters="drop"
    ).load()
    assert time.process_time() - started < 2
    assert found.shape == (10982, 329)  # of 13,377, 2,395 are not known to the day
    assert found.uns["dropped"]["dates"] == 2395
    assert found.obs["date"].between(1980, 2015).all()
    with pytest.raises(DataError, match="2395 of 13377 dates are missing or imprecise, the first is '1992.5'"):
        Sequences(path, sequence="aa", date="decimal_date", precise="date_precise").load()
    with pytest.raises(DataError, match="these look like nucleotides"):
        Sequences(str(shared / "data" / "ncov_sequences.fasta.gz")).load()
