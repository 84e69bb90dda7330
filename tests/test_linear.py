"""Linear layers by oneDNN: the same numbers, and still the layers that they were."""

import copy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from hardprompt.models import linear
from hardprompt.models.linear import HAS_BFLOAT16, HAS_ONEDNN, QuickConv1D, QuickLinear, quicken

needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="torch was built without oneDNN")


@pytest.fixture
def quick(monkeypatch):
    """Whatever this CPU is."""
    monkeypatch.setattr(linear, "BY_ONEDNN", True)


def pair(kind, bias=True):
    """A layer from 12 to 7, and what it becomes."""
    torch.manual_seed(0)
    plain = Conv1D(7, 12) if kind is Conv1D else nn.Linear(12, 7, bias=bias)
    for weight in plain.parameters():
        weight.data.normal_()
    fast = copy.deepcopy(plain)
    model = nn.Sequential(fast).requires_grad_(False)
    quicken(model)
    assert type(model[0]) is {Conv1D: QuickConv1D, nn.Linear: QuickLinear}[kind]
    return plain.requires_grad_(False), model[0]


@needs_onednn
@pytest.mark.parametrize(("kind", "bias"), [(Conv1D, True), (nn.Linear, True), (nn.Linear, False)])
@pytest.mark.parametrize("shape", [(1, 12), (5, 12), (3, 4, 12), (0, 12), (3, 0, 12)])
def test_values_and_gradients_are_those_of_the_plain_layer(quick, kind, bias, shape):
    plain, fast = pair(kind, bias)
    x = torch.randn(shape)
    torch.testing.assert_close(fast(x), plain(x))
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    for layer, at in ((fast, leaf), (plain, other)):
        (layer(at) ** 2).transpose(0, -1).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)


@needs_onednn
@pytest.mark.parametrize("kind", [Conv1D, nn.Linear])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_what_is_trained_gets_its_gradient(quick, kind, part):
    plain, fast = pair(kind)
    x = torch.randn(5, 12)
    for layer in (plain, fast):
        getattr(layer, part).requires_grad_()
        (layer(x) ** 2).sum().backward()
    torch.testing.assert_close(getattr(fast, part).grad, getattr(plain, part).grad)


@needs_onednn
def test_what_comes_out_may_be_changed_in_place(quick):
    """As Longformer does."""
    _, fast = pair(nn.Linear)
    x = torch.randn(3, 4, 12, requires_grad=True)
    out = fast(x)
    out /= 2
    out.sum().backward()
    torch.testing.assert_close(x.grad, (fast.weight.sum(0) / 2).expand_as(x))


@pytest.mark.skipif(not HAS_BFLOAT16, reason="oneDNN has no bfloat16 on this CPU")
@pytest.mark.parametrize(("kind", "bias"), [(Conv1D, True), (nn.Linear, True), (nn.Linear, False)])
def test_bfloat16_is_rounded_once(kind, bias):
    """Its product, its bias and its gradient are right to half a unit of the last place."""
    plain, fast = pair(kind, bias)
    x = torch.randn(3, 4, 12).bfloat16()
    fast, plain = fast.bfloat16(), plain.bfloat16().double()
    leaf, other = x.clone().requires_grad_(), x.double().requires_grad_()
    found, right = fast(leaf), plain(other)
    torch.testing.assert_close(found.double(), right, rtol=2**-8, atol=1e-5)
    slopes = torch.randn(found.shape).bfloat16()
    found.backward(slopes)
    right.backward(slopes.double())
    torch.testing.assert_close(leaf.grad.double(), other.grad, rtol=2**-8, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_left_to_torch(quick, monkeypatch, dtype):
    monkeypatch.setattr(linear, "HAS_BFLOAT16", False)
    plain, fast = pair(nn.Linear)
    x = torch.randn(5, 12).to(dtype)
    assert torch.equal(fast.to(dtype)(x), plain.to(dtype)(x))


def test_where_torch_is_as_fast_the_layers_stay(monkeypatch):
    monkeypatch.setattr(linear, "BY_ONEDNN", False)
    monkeypatch.setattr(linear, "HAS_BFLOAT16", False)
    model = nn.Sequential(nn.Linear(3, 3))
    quicken(model)
    assert type(model[0]) is nn.Linear


def test_layers_of_another_kind_stay(quick):
    """They do something of their own."""
    attention = nn.MultiheadAttention(8, 2)
    before = type(attention.out_proj)
    quicken(attention)
    assert type(attention.out_proj) is before is not nn.Linear


def test_a_quick_layer_is_copied_and_stored_as_the_plain_one(quick):
    plain, fast = pair(nn.Linear)
    assert isinstance(copy.deepcopy(fast), nn.Linear)
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_weights_of_gpt2_lie_as_those_of_linear_layers_and_are_saved(quick, tmp_path):
    shape = GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=4)
    model = GPT2LMHeadModel(shape)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    quicken(model)
    layer = model.transformer.h[0].mlp.c_fc
    assert layer.weight.shape == (8, 32)
    assert layer.weight.t().is_contiguous()
    assert copy.deepcopy(layer).weight.t().is_contiguous()
    model.save_pretrained(tmp_path)
    after = GPT2LMHeadModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
