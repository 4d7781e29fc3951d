"""The lines of the notes' network by their labels."""

from handgrad.compare.source.labels import labelled, network_code


def test_the_networks_code_is_found_by_its_labels():
    names = ("Z1", "A1", "losses", "dZ2", "dW1", "dZ1", "vW1", "W1_next")
    code = network_code(("tanh", "sigmoid"), "binary-cross-entropy", "momentum", names)
    for name in names:
        for side in ("by hand", "torch"):
            assert any(name in piece.tensors for piece in code if piece.side == side), (name, side)
    (weights,) = [piece for piece in code if piece.side == "by hand" and "dW1" in piece.tensors]
    (line,) = weights.tensors["dW1"]
    assert "# (B2)" in weights.text.splitlines()[line - weights.first]
    taken_at = {"dW1": "(F1)", "dZ1": "(F2)", "dZ2": "(L2)"}  # where torch takes a gradient its tensor is used
    for name, label in taken_at.items():
        (piece,) = [piece for piece in code if piece.side == "torch" and name in piece.tensors]
        assert f"# {label}" in piece.text.splitlines()[piece.tensors[name][0] - piece.first]
    derivative = [piece for piece in code if piece.side == "by hand" and "dZ1" in piece.tensors]
    assert any("def tanh_derivative" in piece.text for piece in derivative), "a wrong derivative shows as dZ"


def test_every_label_leads_to_its_line():
    for package in ("manual", "torchref"):
        for label in ("F1", "L2", "O3"):
            found = labelled(package, label)
            assert found is not None
            assert f"({label})" in found.text.splitlines()[found.line - found.first]
    assert labelled("torchref", "B2") is None
