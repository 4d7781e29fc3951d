"""Convolutions and their backward passes: each kind of edit is found where it was planted."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.diagnosis.edits.convolutions import BORDERS, KERNELS, OF_THE_CUT, convolutions
from handgrad.compare.facts.edits import KernelSetting, OtherKernel, RowsOverwritten
from tests.compare.diagnosis.planted import causes, fitting, search_of


def convolved(p, X, Y):
    t = SimpleNamespace(**p, X=X)
    return (tap("F", F.conv2d(image(t), kernels(t), padding=1)) ** 2).sum()


def kernels(t):
    return torch.stack([t.U, t.U.sin(), t.U.exp(), t.U**2]).reshape(2, 2, 3, 3)


def image(t):
    X = t.X.reshape(1, 1, 5, 4)
    return torch.cat([X, X.exp()], 1)


SETTINGS = {
    "padding": (0, {"padding": 0}),
    "stride": (2, {"padding": 1, "stride": 2}),
    "dilation": (2, {"padding": 1, "dilation": 2}),
}


@pytest.mark.parametrize("how", KERNELS)
def test_finds_a_kernel_turned(how):
    def wrong(t):
        return F.conv2d(image(t), KERNELS[how](kernels(t)), padding=1)

    said = fitting(convolutions, search_of(convolved, "F", wrong))
    assert [(type(cause), cause.how) for cause in said] == [(OtherKernel, how)]


def test_finds_windows_that_lie_closer_in_the_backward_pass():
    def wrong(t):
        x, dF = image(t), t.Y[0, 0].expand(1, 2, 2, 1)
        return torch.stack([
            torch.stack([(x[0, c, i : i + 2, j : j + 1] * dF[0, 0]).sum() for i in range(3) for j in range(3)])
            for c in range(2)
        ])  # fmt: skip

    def reference(p, X, Y):
        K = tap("K", torch.cat([p["U"], p["U"].sin()]).reshape(1, 2, 3, 3))
        t = SimpleNamespace(**p, X=X)
        return (F.conv2d(image(t), K, stride=2) * Y[0, 0]).sum()

    said = fitting(convolutions, search_of(reference, "dK", lambda t: wrong(t).reshape(1, 2, 3, 3)))
    assert said == [KernelSetting("stride", 1, "2")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_finds_another_setting_of_a_convolution(setting):
    value, kwargs = SETTINGS[setting]

    def wrong(t):
        return (F.conv2d(image(t), kernels(t), **kwargs) ** 2).sum()

    assert causes(convolved, "J", wrong)[0] == KernelSetting(setting, value, "1")


@pytest.mark.parametrize("mode", BORDERS)
def test_finds_another_border(mode):
    def wrong(t):
        return F.conv2d(F.pad(image(t), (1, 1, 1, 1), mode), kernels(t))

    assert KernelSetting("padding", BORDERS[mode], "zeros") in fitting(convolutions, search_of(convolved, "F", wrong))


# --- backward passes by hand, window by window


def padded(p, X, Y):
    t = SimpleNamespace(**p, X=X)
    return (F.conv2d(p["E"].reshape(1, 1, 4, 4), kernels(t)[:, :1], stride=(2, 2), padding=1) * upstream(Y)).sum()


def upstream(Y):
    return Y[:4, :2].reshape(1, 2, 2, 2)


def by_hand(t, stride=2, first=(1, 1), is_added=True):
    """dE, from the windows in their order."""
    gradient, K = upstream(t.Y), kernels(t)[:, 0]
    whole = torch.zeros(6, 6, dtype=torch.float64)
    for i in range(2):
        for j in range(2):
            window = torch.einsum("c,ckl->kl", gradient[0, :, i, j], K)
            part = whole[i * stride : i * stride + 3, j * stride : j * stride + 3]
            part.copy_(part + window if is_added else window)
    return whole[first[0] : first[0] + 4, first[1] : first[1] + 4]


BACKWARD = {
    "stride": ({"stride": 1}, KernelSetting("stride", 1, "2")),
    "cut at the end": ({"first": (0, 0)}, KernelSetting(OF_THE_CUT, 0, "1")),
    "cut at the start": ({"first": (2, 2)}, KernelSetting(OF_THE_CUT, 2, "1")),
    "cut along the height": ({"first": (0, 1)}, KernelSetting(f"{OF_THE_CUT} along axis 2", 0, "1")),
    "cut along the width": ({"first": (1, 2)}, KernelSetting(f"{OF_THE_CUT} along axis 3", 2, "1")),
    "overwritten": ({"is_added": False}, RowsOverwritten()),
}


def test_the_backward_pass_by_hand_is_right():
    search = search_of(padded, "dE", by_hand)
    assert search.observed.is_same(search.observed.recorded)


@pytest.mark.parametrize("what", BACKWARD)
def test_finds_a_mistake_in_a_backward_pass(what):
    changed, expected = BACKWARD[what]

    def wrong(t):
        return by_hand(t, **changed)

    assert expected in fitting(convolutions, search_of(padded, "dE", wrong))
    assert causes(padded, "dE", wrong)[0] == expected


def test_finds_a_dilation_that_the_backward_pass_forgets():
    def reference(p, X, Y):
        K = p["U"][:, :2].reshape(1, 3, 2)
        return (F.conv1d(p["E"][None, :3], K, dilation=2) * Y[:2, 0]).sum()

    def wrong(t):
        dE = torch.zeros(4, 4, dtype=torch.float64)
        for i in range(2):
            dE[:3, i : i + 2] += t.U[:, :2] * t.Y[i, 0]
        return dE

    assert KernelSetting("dilation", 1, "2") in causes(reference, "dE", wrong)


def test_finds_windows_that_are_overwritten_along_one_axis():
    """Without padding, and with a dilation: the places of a window do not lie beside each other."""

    def reference(p, X, Y):
        return (F.conv1d(tap("T", p["U"])[None], p["W"][:3, :2].reshape(1, 3, 2), dilation=1) * Y[0, :2]).sum()

    def wrong(t):
        dT = torch.zeros(3, 3, dtype=torch.float64)
        for i in range(2):
            dT[:, i : i + 2] = t.W[:3, :2] * t.Y[0, i]
        return dT

    assert causes(reference, "dT", wrong, ["T"])[0] == RowsOverwritten()


# --- ends, and what lies between


ENDS = {"2 before and 0 after": (2, 0), "0 before and 2 after": (0, 2)}


@pytest.mark.parametrize("told", ENDS)
def test_finds_all_the_padding_at_one_end(told):
    before, after = ENDS[told]

    def wrong(t):
        return F.conv2d(F.pad(image(t), (before, after, before, after)), kernels(t))

    assert KernelSetting("padding", told, "1") in fitting(convolutions, search_of(convolved, "F", wrong))


def test_finds_a_transposed_convolution_that_is_cut_elsewhere():
    def reference(p, X, Y):
        t = SimpleNamespace(**p, X=X)
        return (tap("F", F.conv_transpose2d(image(t), kernels(t), stride=2, padding=1)) ** 2).sum()

    def wrong(t):
        whole = F.conv_transpose2d(image(t), kernels(t), stride=2)
        return whole[:, :, : whole.shape[2] - 2, : whole.shape[3] - 2]

    said = fitting(convolutions, search_of(reference, "F", wrong))
    assert KernelSetting("padding", "0 before and 2 after", "1") in said


def test_the_gradient_of_a_pooled_relu_has_a_form_by_masks():
    """In a window of zeros all four are the largest, where torch takes the first; the mask of the ReLU ends both."""

    def reference(p, X, Y):
        A = torch.relu(tap("Z", X[:4] @ p["E"]))
        return (F.max_pool2d(A.reshape(1, 1, 4, 4), 2).exp() * p["V"][:2, :2]).sum()

    def dA(t):
        A = torch.relu(t.X[:4] @ t.E)
        P = F.max_pool2d(A.reshape(1, 1, 4, 4), 2)[0, 0]
        spread = (each.repeat_interleave(2, 0).repeat_interleave(2, 1) for each in (P, P.exp() * t.V[:2, :2]))
        largest, gradient = spread
        return gradient * (A == largest)

    masked = causes(reference, "dZ", lambda t: dA(t) * (t.X[:4] @ t.E > 0) * 2)
    assert (masked[0].code, causes(reference, "dZ", dA)[0].code) == ("scale", "activation-derivative")
