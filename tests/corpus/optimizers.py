"""Slips in update rules by hand, each with the codes that are right for it and what the fields of its cause mention.

The third whose names are HELD_OUT, drawn before anything was run, is looked at only when the naming is finished.
"""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["HELD_OUT", "PARAMS", "RIGHT", "SLIPS", "TRAINED", "Slip", "train"]

_rng = np.random.default_rng(31)
PARAMS = {"W": _rng.standard_normal((3, 4)), "b": _rng.standard_normal((3, 1))}
LR, DECAY = 0.02, 0.1
O = torch.optim  # read as torch.optim

COUNT = ("update-form", "momentum-form", "constant")
CORRECTION = ("missing-factor", "momentum-form", "update-form", "constant", "wrong-operand")
EPS = ("constant", "update-form")
SIZE = ("constant", "scale", "momentum-form", "update-form", "missing-factor", "wrong-operand")
LOST = ("missing-term", "regularisation", "update-form", "momentum-form", "missing-factor")
DECAYED = ("regularisation", "update-form", "missing-term")
MOMENTUM = ("momentum-form", "update-form", "constant", "missing-factor", "wrong-operand", "missing-term")
FORM = ("function", "update-form", "missing-factor", "wrong-operand")
START = ("momentum-form", "update-form")
CLIP = ("clipped", "update-form", "function")


class Slip(NamedTuple):
    """What torch does, what is done by hand, and what is right to say of it."""

    optimizer: Callable[..., Any]
    update: Callable[..., Any]
    codes: tuple[str, ...]
    mentions: tuple[str, ...] = ()


def rule(change, grad=lambda x: x.g, count=lambda t, i, n: t, **moments):
    """An update: `grad` makes x.g of the gradient, each moment is kept under its name, `change` gives the new weights.

    A moment is a start and a function of x, which holds w, g, t, the moments as they were, and, once made, as they are.
    """

    def update(params, grads, state):
        step = 1 if state is None else state["step"] + 1
        new, kept = {}, {"step": step}
        for i, (name, w) in enumerate(params.items()):
            x = SimpleNamespace(w=w, g=grads[f"d{name}"], t=count(step, i, len(params)), step=step, name=name)
            x.all = grads
            x.g = grad(x)
            for key, (start, of) in moments.items():
                before = (start(x) if callable(start) else start) if state is None else state[name][key]
                setattr(x, key, np.zeros_like(w) + before)
                setattr(x, key, np.asarray(of(x)))
            kept[name] = {key: getattr(x, key) for key in moments}
            new[name] = change(x)
        return new, kept

    return update


def mean(key, beta, of=lambda x: x.g, start=0.0, new=None):
    return {key: (start, lambda x: beta * getattr(x, key) + (1 - beta if new is None else new) * of(x))}


def squares(key="s", beta=0.999, start=0.0, new=None, of=lambda x: x.g**2):
    return mean(key, beta, of, start, new)


M, S = mean("m", 0.9), squares()


def c1(x):
    return 1 - 0.9**x.t


def c2(x):
    return 1 - 0.999**x.t


def ratio(x, eps=1e-8):
    return (x.m / c1(x)) / (np.sqrt(x.s / c2(x)) + eps)


def adam(change=lambda x: x.w - LR * ratio(x), **more):
    return rule(change, **{**M, **S, **more})


def coupled(x):
    return x.g + DECAY * x.w


def decoupled(x):
    return (1 - LR * DECAY) * x.w - LR * ratio(x)


def but_bias(tensors, kind=O.Adam, **settings):
    return kind([{"params": [tensors[0]], "weight_decay": DECAY}, {"params": tensors[1:]}], lr=LR, **settings)


def of(kind, **settings):
    return lambda tensors: kind(tensors, **{"lr": LR, **settings})


ADAM, ADAM_L2 = of(O.Adam), of(O.Adam, weight_decay=DECAY)
ADAMW = of(O.AdamW, weight_decay=DECAY)
RMSPROP, ADAGRAD = of(O.RMSprop, alpha=0.9), of(O.Adagrad, lr_decay=0.1)
ADADELTA = of(O.Adadelta, lr=0.5)
R = squares("s", 0.9)
G = squares("s", 1.0, new=1.0)


def rate(x):
    return LR / (1 + 0.1 * (x.t - 1))


def delta(x):
    return np.sqrt(x.a + 1e-6) / np.sqrt(x.s + 1e-6) * x.g


def adadelta_by_hand(rho=0.9, new=None, of=delta, kept=lambda x: x.d, lr=0.5):
    """Adadelta keeps two moments, the second of its own change."""

    def update(params, grads, state):
        state = state or {n: (0.0 * w, 0.0 * w) for n, w in params.items()}
        after, changed = {}, {}
        for n, w in params.items():
            x = SimpleNamespace(w=w, g=grads[f"d{n}"], a=state[n][1])
            x.s = rho * state[n][0] + (1 - rho if new is None else new) * x.g**2
            x.d = of(x)
            after[n] = x.s, rho * x.a + (1 - rho if new is None else new) * kept(x) ** 2
            changed[n] = w - lr * x.d
        return changed, after

    return update


def nadam(eps=1e-8, inside=False, ahead=True, decays=True, later=0):
    """NAdam's momentum is another at each step."""

    def update(params, grads, state):
        t = 1 if state is None else state["t"] + 1
        k = t + later
        mu, following = (0.9 * (1 - 0.5 * 0.96 ** (each * 0.004)) if decays else 0.9 for each in (k, k + 1))
        product = mu * (1.0 if state is None else state["product"])
        new, kept = {}, {"t": t, "product": product}
        for n, w in params.items():
            m, s = (0.0, 0.0) if state is None else state[n]
            g = grads[f"d{n}"]
            m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
            up = (
                following * m / (1 - product * following) + (1 - mu) * g / (1 - product) if ahead else m / (1 - product)
            )
            corrected = s / (1 - 0.999**t)
            new[n] = w - LR * up / (np.sqrt(corrected + eps) if inside else np.sqrt(corrected) + eps)
            kept[n] = m, s
        return new, kept

    return update


def radam(rectified=True, least=5.0, inside=False):
    """RAdam takes plain momentum while the variance is not known: at the first five steps as a rule."""

    def change(x):
        most = 2 / (1 - 0.9) - 1
        rho = most - 2 * x.t * 0.9**x.t / (1 - 0.9**x.t)
        m = x.m / (1 - 0.8**x.t)
        if rho <= least:
            return x.w - LR * m
        r = np.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)) if rectified else 1.0
        c = np.sqrt(1 - 0.9**x.t)
        return x.w - LR * m * r * c / (np.sqrt(x.s + 1e-8) if inside else np.sqrt(x.s) + 1e-8)

    return rule(change, **mean("m", 0.8), **squares("s", 0.9))


RADAM = of(O.RAdam, betas=(0.8, 0.9))


def sgd(change=lambda x: x.w - LR * x.v, v=None, start=0.0, **more):
    return rule(change, v=(start, v or (lambda x: 0.9 * x.v + x.g)), **more)


def first(bare, then):
    return lambda x: bare(x) if x.step == 1 else then(x)


HEAVY, NESTEROV = of(O.SGD, momentum=0.9), of(O.SGD, momentum=0.9, nesterov=True)
SGD_L2 = of(O.SGD, momentum=0.9, weight_decay=DECAY)


def nesterov_old(params, grads, state):
    state = state or {n: 0 * w for n, w in params.items()}
    v = {n: 0.9 * state[n] + grads[f"d{n}"] for n in params}
    return {n: w - LR * (grads[f"d{n}"] + 0.9 * state[n]) for n, w in params.items()}, v


def late(params, grads, state):
    state = state or {n: 0 * w for n, w in params.items()}
    v = {n: 0.9 * state[n] + grads[f"d{n}"] for n in params}
    return {n: w - LR * state[n] for n, w in params.items()}, v


def sutskever(params, grads, state):
    """Nesterov's step with the rate in the velocity: right where the rate is constant."""
    state = state or {n: 0 * w for n, w in params.items()}
    v = {n: 0.9 * state[n] - LR * grads[f"d{n}"] for n in params}
    return {n: w + 0.9 * v[n] - LR * grads[f"d{n}"] for n, w in params.items()}, v


def by_norm(x, of_all=False):
    norm = np.sqrt(sum(np.sum(g**2) for g in x.all.values())) if of_all else np.linalg.norm(x.g)
    return x.g * min(1.0, 1.0 / norm)


SLIPS = {
    "adam t stuck at 1": Slip(ADAM, adam(count=lambda t, i, n: 1), COUNT, ("stuck",)),
    "adam t one ahead": Slip(ADAM, adam(count=lambda t, i, n: t + 1), COUNT, ("ahead",)),
    "adam t per parameter": Slip(ADAM, adam(count=lambda t, i, n: (t - 1) * n + i + 1), COUNT, ("per-parameter",)),
    "adam m not corrected": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / (np.sqrt(x.s / c2(x)) + 1e-8)), CORRECTION, ("beta1",)
    ),
    "adam s not corrected": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / (np.sqrt(x.s) + 1e-8)), CORRECTION, ("beta2",)
    ),
    "adam neither corrected": Slip(ADAM, adam(lambda x: x.w - LR * x.m / (np.sqrt(x.s) + 1e-8)), CORRECTION),
    "adam m corrected by beta2": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / c2(x) / (np.sqrt(x.s / c2(x)) + 1e-8)), CORRECTION, ("beta2", "beta1")
    ),
    "adam s corrected by beta1": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / (np.sqrt(x.s / c1(x)) + 1e-8)), CORRECTION, ("beta2", "beta1")
    ),
    "adam correction without its root": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / (np.sqrt(x.s) / c2(x) + 1e-8)), (*CORRECTION, "function")
    ),
    "adam eps before the correction": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / ((np.sqrt(x.s) + 1e-8) / np.sqrt(c2(x)))), EPS, ("eps",)
    ),
    "adam eps inside": Slip(ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / np.sqrt(x.s / c2(x) + 1e-8)), EPS, ("eps",)),
    "adam eps inside before the correction": Slip(
        ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / np.sqrt((x.s + 1e-8) / c2(x))), EPS, ("eps",)
    ),
    "adam eps 1e-7": Slip(ADAM, adam(lambda x: x.w - LR * ratio(x, 1e-7)), EPS, ("eps",)),
    "adam eps 3e-5": Slip(ADAM, adam(lambda x: x.w - LR * ratio(x, 3e-5)), EPS, ("eps",)),
    "adam no root": Slip(ADAM, adam(lambda x: x.w - LR * x.m / c1(x) / (x.s / c2(x) + 1e-8)), FORM, ("sqrt",)),
    "adam s of |g|": Slip(ADAM, adam(**squares(of=lambda x: abs(x.g))), FORM),
    "adam m without 1 - beta1": Slip(ADAM, adam(**mean("m", 0.9, new=1.0)), SIZE, ("beta1",)),
    "adam betas swapped": Slip(ADAM, adam(**mean("m", 0.999), **squares(beta=0.9)), MOMENTUM),
    "adam decay forgotten": Slip(ADAM_L2, adam(), DECAYED, ("weight_decay",)),
    "adam decay decoupled": Slip(ADAM_L2, adam(decoupled), DECAYED),
    "adam decay after the moments": Slip(ADAM_L2, adam(lambda x: x.w - LR * (ratio(x) + DECAY * x.w)), DECAYED),
    "adam decay in m alone": Slip(ADAM_L2, adam(**mean("m", 0.9, of=coupled)), (*DECAYED, *FORM)),
    "adam decay on the bias": Slip(but_bias, adam(grad=coupled), DECAYED),
    "adam decay not on the weights": Slip(but_bias, adam(), DECAYED, ("weight_decay",)),
    "adam decay forgotten on the bias": Slip(
        ADAM_L2, adam(grad=lambda x: coupled(x) if x.name == "W" else x.g), DECAYED, ("weight_decay",)
    ),
    "adam amsgrad forgotten": Slip(of(O.Adam, amsgrad=True), adam(), MOMENTUM, ("amsgrad",)),
    "adamw decay coupled": Slip(ADAMW, adam(grad=coupled), DECAYED),
    "adamw decay without the rate": Slip(
        ADAMW, adam(lambda x: (1 - DECAY) * x.w - LR * ratio(x)), DECAYED, ("without-rate",)
    ),
    "adamw decay forgotten": Slip(ADAMW, adam(), DECAYED, ("weight_decay",)),
    "adamw decay after the step": Slip(ADAMW, adam(lambda x: (x.w - LR * ratio(x)) * (1 - LR * DECAY)), DECAYED),
    "adamw decay of the other sign": Slip(
        ADAMW, adam(lambda x: (1 + LR * DECAY) * x.w - LR * ratio(x)), (*DECAYED, "sign")
    ),
    "adamw eps inside": Slip(
        ADAMW,
        adam(lambda x: (1 - LR * DECAY) * x.w - LR * x.m / c1(x) / np.sqrt(x.s / c2(x) + 1e-8)),
        EPS,
        ("eps",),
    ),
    "adamw neither corrected": Slip(
        ADAMW, adam(lambda x: (1 - LR * DECAY) * x.w - LR * x.m / (np.sqrt(x.s) + 1e-8)), CORRECTION
    ),
    "adamw t one ahead": Slip(ADAMW, adam(decoupled, count=lambda t, i, n: t + 1), COUNT, ("ahead",)),
    "rmsprop eps inside": Slip(RMSPROP, rule(lambda x: x.w - LR * x.g / np.sqrt(x.s + 1e-8), **R), EPS, ("eps",)),
    "rmsprop eps 1e-6": Slip(RMSPROP, rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-6), **R), EPS, ("eps",)),
    "rmsprop starts from 1": Slip(
        RMSPROP,
        rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **squares("s", 0.9, start=1.0)),
        START,
        ("square_avg",),
    ),
    "rmsprop starts from the first square": Slip(
        RMSPROP,
        rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **squares("s", 0.9, start=lambda x: x.g**2)),
        START,
        ("square_avg",),
    ),
    "rmsprop shares swapped": Slip(
        RMSPROP, rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **squares("s", 0.1)), SIZE, ("alpha",)
    ),
    "rmsprop without 1 - alpha": Slip(
        RMSPROP, rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **squares("s", 0.9, new=1.0)), SIZE, ("alpha",)
    ),
    "rmsprop not centred": Slip(
        of(O.RMSprop, alpha=0.9, centered=True), rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **R), LOST
    ),
    "rmsprop momentum forgotten": Slip(
        of(O.RMSprop, alpha=0.9, momentum=0.8), rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **R), LOST
    ),
    "rmsprop no root": Slip(RMSPROP, rule(lambda x: x.w - LR * x.g / (x.s + 1e-8), **R), FORM, ("sqrt",)),
    "rmsprop decay decoupled": Slip(
        of(O.RMSprop, alpha=0.9, weight_decay=DECAY),
        rule(lambda x: (1 - LR * DECAY) * x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **R),
        DECAYED,
    ),
    "rmsprop corrected": Slip(
        RMSPROP, rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s / (1 - 0.9**x.t)) + 1e-8), **R), CORRECTION
    ),
    "adagrad eps inside": Slip(ADAGRAD, rule(lambda x: x.w - rate(x) * x.g / np.sqrt(x.s + 1e-10), **G), EPS, ("eps",)),
    "adagrad starts from 0": Slip(
        of(O.Adagrad, initial_accumulator_value=0.1),
        rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-10), **G),
        START,
    ),
    "adagrad starts from 0.1": Slip(
        of(O.Adagrad),
        rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-10), **squares("s", 1.0, start=0.1, new=1.0)),
        START,
    ),
    "adagrad rate does not decay": Slip(
        ADAGRAD, rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-10), **G), (*SIZE, *LOST)
    ),
    "adagrad t one ahead": Slip(
        ADAGRAD,
        rule(lambda x: x.w - rate(x) * x.g / (np.sqrt(x.s) + 1e-10), count=lambda t, i, n: t + 1, **G),
        COUNT,
        ("ahead",),
    ),
    "adagrad forgets": Slip(
        of(O.Adagrad), rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-10), **R), (*MOMENTUM, "scale")
    ),
    "adadelta eps outside": Slip(
        ADADELTA,
        adadelta_by_hand(of=lambda x: (np.sqrt(x.a) + 1e-6) / (np.sqrt(x.s) + 1e-6) * x.g),
        EPS,
        ("eps",),
    ),
    "adadelta no rate": Slip(ADADELTA, adadelta_by_hand(lr=1.0), (*SIZE, *LOST)),
    "adadelta keeps the gradient": Slip(ADADELTA, adadelta_by_hand(kept=lambda x: x.g), FORM),
    "adadelta shares swapped": Slip(ADADELTA, adadelta_by_hand(rho=0.1), SIZE, ("rho",)),
    "adadelta eps 1e-8": Slip(
        ADADELTA,
        adadelta_by_hand(of=lambda x: np.sqrt(x.a + 1e-8) / np.sqrt(x.s + 1e-8) * x.g),
        EPS,
        ("eps",),
    ),
    "nadam eps inside": Slip(of(O.NAdam), nadam(inside=True), EPS, ("eps",)),
    "nadam eps 1e-6": Slip(of(O.NAdam), nadam(eps=1e-6), EPS, ("eps",)),
    "nadam not ahead": Slip(of(O.NAdam), nadam(ahead=False), (*MOMENTUM, *FORM)),
    "nadam momentum constant": Slip(of(O.NAdam), nadam(decays=False), (*MOMENTUM, "scale")),
    "nadam t one ahead": Slip(of(O.NAdam), nadam(later=1), COUNT, ("ahead",)),
    "radam not rectified": Slip(RADAM, radam(rectified=False), (*FORM, "constant")),
    "radam from 4": Slip(RADAM, radam(least=4.0), ("unknown", *FORM, *COUNT)),
    "radam eps inside": Slip(RADAM, radam(inside=True), EPS, ("eps",)),
    "sgd dampening from the first step": Slip(
        of(O.SGD, momentum=0.9, dampening=0.5), sgd(v=lambda x: 0.9 * x.v + 0.5 * x.g), START, ("momentum_buffer",)
    ),
    "sgd dampening 0.1 from the first step": Slip(
        of(O.SGD, momentum=0.8, dampening=0.1), sgd(v=lambda x: 0.8 * x.v + 0.9 * x.g), START, ("momentum_buffer",)
    ),
    "sgd dampening from the first step with decay": Slip(
        of(O.SGD, momentum=0.9, dampening=0.5, weight_decay=0.01),
        sgd(v=lambda x: 0.9 * x.v + 0.5 * x.g, grad=lambda x: x.g + 0.01 * x.w),
        START,
        ("momentum_buffer",),
    ),
    "sgd dampening forgotten": Slip(of(O.SGD, momentum=0.9, dampening=0.5), sgd(), MOMENTUM, ("dampening",)),
    "sgd dampening where none is due": Slip(
        HEAVY, sgd(v=first(lambda x: x.g, lambda x: 0.9 * x.v + 0.7 * x.g)), (*MOMENTUM, "scale")
    ),
    "sgd average": Slip(HEAVY, sgd(v=lambda x: 0.9 * x.v + 0.1 * x.g), MOMENTUM),
    "sgd average from the gradient": Slip(
        HEAVY, sgd(v=first(lambda x: x.g, lambda x: 0.9 * x.v + 0.1 * x.g)), MOMENTUM, ("dampening",)
    ),
    "sgd nesterov by the old velocity": Slip(NESTEROV, nesterov_old, MOMENTUM),
    "sgd nesterov forgotten": Slip(NESTEROV, sgd(), MOMENTUM),
    "sgd nesterov where none is due": Slip(HEAVY, sgd(lambda x: x.w - LR * (x.g + 0.9 * x.v)), MOMENTUM, ("nesterov",)),
    "sgd nesterov of an average": Slip(
        NESTEROV, sgd(lambda x: x.w - LR * (0.1 * x.g + 0.9 * x.v), lambda x: 0.9 * x.v + 0.1 * x.g), MOMENTUM
    ),
    "sgd nesterov without the momentum": Slip(NESTEROV, sgd(lambda x: x.w - LR * (x.g + x.v)), MOMENTUM),
    "sgd velocity late": Slip(HEAVY, late, MOMENTUM),
    "sgd momentum twice": Slip(HEAVY, sgd(v=lambda x: 0.81 * x.v + x.g), MOMENTUM),
    "sgd starts from the weights": Slip(HEAVY, sgd(start=lambda x: x.w), START, ("momentum_buffer",)),
    "sgd starts from 0.5": Slip(HEAVY, sgd(start=0.5), START, ("momentum_buffer",)),
    "sgd decay after momentum": Slip(SGD_L2, sgd(lambda x: x.w - LR * (x.v + DECAY * x.w)), DECAYED),
    "sgd decay without the rate": Slip(SGD_L2, sgd(lambda x: (1 - DECAY) * x.w - LR * x.v), DECAYED),
    "sgd decay of the other sign": Slip(SGD_L2, sgd(grad=lambda x: x.g - DECAY * x.w), (*DECAYED, "sign")),
    "sgd decay twice": Slip(SGD_L2, sgd(grad=lambda x: x.g + 2 * DECAY * x.w), (*DECAYED, "scale")),
    "sgd decay of a third": Slip(SGD_L2, sgd(grad=lambda x: x.g + DECAY / 3 * x.w), (*DECAYED, "scale", "constant")),
    "sgd decay on the bias": Slip(lambda t: but_bias(t, O.SGD, momentum=0.9), sgd(grad=coupled), DECAYED),
    "sgd decay where none is due": Slip(HEAVY, sgd(grad=lambda x: x.g + 0.03 * x.w), DECAYED),
    "sgd values clipped": Slip(of(O.SGD), rule(lambda x: x.w - LR * np.clip(x.g, -1, 1)), CLIP),
    "sgd norm clipped": Slip(of(O.SGD), rule(lambda x: x.w - LR * by_norm(x)), CLIP),
    "sgd norm of all clipped": Slip(of(O.SGD), rule(lambda x: x.w - LR * by_norm(x, of_all=True)), CLIP),
    "sgd clipped before momentum": Slip(HEAVY, sgd(grad=lambda x: np.clip(x.g, -5, 5)), CLIP),
    "adam norm clipped": Slip(ADAM, adam(grad=by_norm), CLIP),
    "sgd ascends": Slip(HEAVY, sgd(lambda x: x.w + LR * x.v), ("update-form", "sign")),
    "sgd rate squared": Slip(of(O.SGD), rule(lambda x: x.w - LR**2 * x.g), ("update-form", "scale", "constant")),
}

RIGHT = {
    "Adam": (ADAM, adam()),
    "Adam with L2": (ADAM_L2, adam(grad=coupled)),
    "AdamW": (ADAMW, adam(decoupled)),
    "RMSprop": (RMSPROP, rule(lambda x: x.w - LR * x.g / (np.sqrt(x.s) + 1e-8), **R)),
    "Adagrad": (ADAGRAD, rule(lambda x: x.w - rate(x) * x.g / (np.sqrt(x.s) + 1e-10), **G)),
    "Adadelta": (ADADELTA, adadelta_by_hand()),
    "NAdam": (of(O.NAdam), nadam()),
    "RAdam": (RADAM, radam()),
    "dampening": (
        of(O.SGD, momentum=0.9, dampening=0.5),
        sgd(v=first(lambda x: x.g, lambda x: 0.9 * x.v + 0.5 * x.g)),
    ),
    "Nesterov": (NESTEROV, sgd(lambda x: x.w - LR * (x.g + 0.9 * x.v))),
    "Nesterov with the rate in the velocity": (NESTEROV, sutskever),
    "no decay on the bias": (but_bias, adam(grad=lambda x: coupled(x) if x.name == "W" else x.g)),
}

_names = sorted(SLIPS)
HELD_OUT = frozenset(random.Random(45).sample(_names, len(_names) // 3))

# --- the same in a training loop: which slips, of a linear layer that is given batches of 7, 7 and 4 examples

BATCHES = [(_rng.standard_normal((4, n)), _rng.standard_normal((3, n))) for n in (7, 7, 4, 7, 7)]


def loss(p, X, Y):
    """The mean squared error of a linear layer."""
    return ((p["W"] @ X + p["b"] - Y) ** 2).sum() / X.shape[1]


def train(update, shown=()):
    """A training loop by hand around an update; `shown`: whether the gradients are yielded too."""

    def trainer(params, batches):
        p, state = dict(params), None
        for X, Y in batches:
            dZ = 2 * (p["W"] @ X + p["b"] - Y) / X.shape[1]
            grads = {"dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}
            p, state = update(p, grads, state)
            yield {**p, **{name: grads[name] for name in shown}}

    return trainer


TRAINED = {
    name: SLIPS[name]
    for name in (
        "adam neither corrected",
        "adam t per parameter",
        "adam eps inside",
        "adamw decay coupled",
        "adam decay on the bias",
        "sgd dampening from the first step",
        "sgd nesterov by the old velocity",
        "sgd decay after momentum",
        "sgd norm clipped",
        "rmsprop starts from 1",
    )
} | {
    "sgd decay divided by the batch": Slip(SGD_L2, sgd(grad=lambda x: x.g + DECAY / 7 * x.w), (*DECAYED, "scale")),
}
