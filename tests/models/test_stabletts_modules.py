"""Every module gives the numbers of the original, with the original's weights."""

from __future__ import annotations

import pytest
import torch
from support import parity
from support.parity import array, close, group

from pipelines.tts.stabletts.blocks import DiTBlock, length_mask, rotate_positions, sinusoid
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.flow import Prior, SamplingOptions
from pipelines.tts.stabletts.model import StableTTS

MODULE = 1e-5


@pytest.fixture
def model() -> StableTTS:
    """Return the model as we use it."""
    return parity.model()


@pytest.fixture
def leaky() -> StableTTS:
    """Return the model that treats padding like the original."""
    return parity.model(leaks_padding=True)


def test_state_dict_has_the_names_and_the_order_of_the_release() -> None:
    """Optimizer files refer to parameters by position."""
    own = list(StableTTS(parity.config()).state_dict())
    assert own == parity.names("sd/")
    assert [name for name, _ in parity.model().named_parameters()] == parity.settings()[
        "gradient_order"
    ]


def test_the_published_size_has_189_entries_and_31_644_545_parameters() -> None:
    """The default sizes are those of the v1.1 weights."""
    with torch.device("meta"):
        model = StableTTS(ModelConfig())
    shapes = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    assert len(shapes) == 189
    assert sum(p.numel() for p in model.parameters()) == 31_644_545
    assert sum(p.numel() for p in model.dp.parameters()) == 4_005_121
    assert shapes["decoder.estimator.in_proj.weight"] == (256, 384, 1)
    assert shapes["decoder.estimator.cond_proj.4.weight"] == (256, 1024, 3)
    assert shapes["decoder.estimator.lsc_layers.2.weight"] == (256, 512, 3)
    assert shapes["ref_encoder.slf_attn.in_proj_weight"] == (384, 128)


def test_a_new_block_is_the_identity() -> None:
    """Gates start closed."""
    block = DiTBlock(32, 48, 2, 3, 0.0, 32)
    x = torch.randn(2, 32, 7)
    assert torch.equal(block(x, torch.randn(2, 32), torch.ones(2, 1, 7)), x)


def test_positions_rotate_half_of_each_head() -> None:
    """The rest of each head knows no position."""
    rotated = rotate_positions(array("rope/in"), int(array("rope/rotated_dims")))
    close(rotated, array("rope/out"), MODULE)


def test_times_are_embedded(model: StableTTS) -> None:
    """Sines before cosines, scaled by a thousand."""
    times = array("time/t")
    close(sinusoid(times, 32), array("time/sinusoid"), MODULE)
    close(model.decoder.estimator.time_mlp(times), array("time/mlp"), MODULE)


def test_block_and_its_halves(model: StableTTS) -> None:
    """Attention and feed-forward alone, then together."""
    data, block = group("dit"), model.encoder.encoder[0]
    close(block.attn(data["x"], None), data["attn_out"], MODULE)
    close(block.mlp(data["x"], data["mask"]), data["ffn_out"], MODULE)
    close(block(data["x"], data["c"], data["mask"]), data["out"], MODULE)


def test_block_whose_condition_has_another_width() -> None:
    """An adapter appears in the state dict."""
    sizes = parity.settings()["model"]
    gin = parity.settings()["dit_adapter_gin"]
    block = DiTBlock(
        sizes["hidden_channels"], sizes["filter_channels"], sizes["n_heads"], 3, 0.1, gin
    ).eval()
    block.load_state_dict(group("dit_adapter/sd"), strict=True)
    mask = array("dit/mask")
    out = block(array("dit/x"), array("dit_adapter/c"), mask)
    close(out, array("dit_adapter/out"), MODULE)


def test_text_encoder_layer_by_layer(model: StableTTS) -> None:
    """The first layer that differs is named."""
    data, encoder = group("enc"), model.encoder
    close(encoder.embed(data["x"]), data["embedded"], MODULE)
    seen = watch(dict(enumerate(encoder.encoder)))
    h, mu, mask = encoder(data["x"], data["x_lengths"], data["c"])
    for i in range(len(encoder.encoder)):
        close(seen[i], data[f"layer{i}"], MODULE)
    close(h, data["h"], MODULE)
    close(mu, data["mu"], MODULE)
    close(mask, data["mask"], 0)


def test_duration_predictor(model: StableTTS) -> None:
    """Log frames per token."""
    logw = model.dp(array("enc/h"), array("enc/mask"), array("enc/c"))
    close(logw, array("dp/logw"), MODULE)


def test_style_encoder_with_and_without_padding(model: StableTTS, leaky: StableTTS) -> None:
    """The original's padded value needs the leak, its unpadded value does not."""
    data = group("ref")
    mask = length_mask(data["z_lengths"], data["z"].shape[2])
    close(leaky.ref_encoder(data["z"], mask), data["c_masked"], MODULE)
    close(model.ref_encoder(data["z"]), data["c_unmasked"], MODULE)


def test_a_voice_does_not_depend_on_padding(model: StableTTS) -> None:
    """A crop in a batch gives the voice of the crop alone."""
    data = group("ref")
    mask = length_mask(data["z_lengths"], data["z"].shape[2])
    batched = model.ref_encoder(data["z"], mask)
    for i, length in enumerate(data["z_lengths"].tolist()):
        close(batched[i : i + 1], model.voice(data["z"][i : i + 1, :, :length]), MODULE)


def test_velocity_and_everything_inside(leaky: StableTTS) -> None:
    """Projections, time fusion, skips and blocks, also for one time for all."""
    data, estimator = group("vel"), leaky.decoder.estimator
    seen = watch(
        {
            "in_proj": estimator.in_proj,
            "film0": estimator.blocks[0].time_fusion,
            **{f"block{i}": block for i, block in enumerate(estimator.blocks)},
            **{f"skip{i}": skip for i, skip in enumerate(estimator.lsc_layers)},
        }
    )
    condition = estimator.condition(data["mu"], data["mask"])
    rest = (condition, data["mask"], data["c"])
    close(condition, data["cond_proj"], MODULE)
    close(estimator(data["t"], data["x"], *rest), data["out"], MODULE)
    assert len(seen) == 8
    for name, value in seen.items():
        close(value, data[name], MODULE)
    scalar = estimator(data["scalar_t"], data["x"], *rest)
    close(scalar, data["out_scalar_t"], MODULE)


@pytest.mark.parametrize("joint", [False, True])
def test_guided_velocity_in_two_calls_or_one(leaky: StableTTS, joint: bool) -> None:
    """Both ways of computing guidance give the same field."""
    data = group("vel")
    prior = Prior(data["mu"], data["mask"], data["c"], padded=True)
    options = SamplingOptions(guidance=float(data["cfg_strength"]), joint_branches=joint)
    absent = (leaky.fake_speaker, leaky.fake_content)
    field = leaky.decoder.guided_field(prior, absent, options)
    close(field(data["scalar_t"], data["x"]), data["cfg_out"], MODULE)


def watch(modules: dict[object, torch.nn.Module]) -> dict[object, torch.Tensor]:
    """Collect what each module returns, by its name."""
    seen: dict[object, torch.Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.__setitem__(name, output)
        )
    return seen
