import subprocess
import sys

import kdvideo as kd

NAMES = [
    "AlphaBeta",
    "AttentionKL",
    "AttentionMSE",
    "AttentionTransfer",
    "BinaryKD",
    "BoundedRegression",
    "CRD",
    "CTKD",
    "CWD",
    "CaptureError",
    "ContrastiveRelations",
    "CorrelationCongruence",
    "DIST",
    "DKD",
    "EMATeacher",
    "FSP",
    "FactorTransfer",
    "FeatureCosine",
    "FeatureExtractor",
    "FeatureMSE",
    "FoundationFeature",
    "FromTeacher",
    "ICKD",
    "JensenShannon",
    "LogitMSE",
    "Loss",
    "MGD",
    "MLKD",
    "NKD",
    "NST",
    "OFA",
    "OFD",
    "OnClasses",
    "Output",
    "PHIS",
    "PKD",
    "PKT",
    "RKDAngle",
    "RKDDistance",
    "Regression",
    "ReverseKL",
    "ReviewKD",
    "SRRL",
    "SemCKD",
    "SimKD",
    "SimilarityPreserving",
    "SkewedKL",
    "SkewedReverseKL",
    "SoftTarget",
    "SoftTargetChunked",
    "SoftTargetTopK",
    "Standardized",
    "Student",
    "TTM",
    "Teacher",
    "TeacherCache",
    "TopK",
    "TotalVariation",
    "UniformTeacher",
    "VID",
    "ValueRelation",
    "VirtualTeacher",
    "WSLD",
    "WTTM",
    "cache",
    "check_optimizer",
    "describe",
    "ensemble",
    "functional",
    "projectors",
    "schedules",
]
FUNCTIONS = [
    "alpha_beta",
    "attention_kl",
    "attention_mse",
    "attention_transfer",
    "binary_kd",
    "bounded_regression",
    "common_classes",
    "contrastive_relations",
    "correlation_congruence",
    "crd",
    "ctkd",
    "cwd",
    "dist",
    "dkd",
    "factor_transfer",
    "feature_cosine",
    "feature_mse",
    "foundation_feature",
    "fsp",
    "hcl",
    "ickd",
    "jensen_shannon",
    "logit_mse",
    "mgd",
    "mlkd",
    "nkd",
    "nst",
    "ofa",
    "ofd",
    "pkd",
    "pkt",
    "regression",
    "reverse_kl",
    "rkd_angle",
    "rkd_distance",
    "sem_ckd",
    "similarity_preserving",
    "simkd",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft_target",
    "soft_target_chunked",
    "soft_target_from_hidden",
    "soft_target_top_k",
    "srrl",
    "standardize",
    "top_k",
    "total_variation",
    "ttm",
    "uniform_teacher",
    "value_relation",
    "vid",
    "virtual_teacher",
    "wsld",
    "wttm",
]
ROOMS = ("data", "detection", "extraction", "flow", "models", "training")


def test_public_names() -> None:
    assert sorted(kd.__all__) == NAMES
    assert all(hasattr(kd, name) for name in NAMES)
    assert kd.functional.__all__ == FUNCTIONS


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert kd.__version__ == version("kdvideo")


def test_every_public_name_is_documented() -> None:
    objects = [getattr(kd, name) for name in NAMES]
    objects += [getattr(kd.functional, name) for name in kd.functional.__all__]
    assert all(thing.__doc__ for thing in objects)


def test_unknown_attribute_is_an_attribute_error() -> None:
    assert not hasattr(kd, "trainer")
    assert {*ROOMS, "Teacher"} <= set(dir(kd))


def test_rooms_are_imported_when_they_are_first_used() -> None:
    for room in ROOMS:
        module = getattr(kd, room)
        assert module.__name__ == f"kdvideo.{room}"
        assert all(hasattr(module, name) for name in module.__all__)


ADDED = """
import sys
import torch, einops, safetensors
before = set(sys.modules)
import kdvideo
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("kdvideo")))
print(*sorted(name for name in set(sys.modules) if name.startswith("kdvideo.")))
"""


def test_import_brings_nothing_but_the_core() -> None:
    run = subprocess.run([sys.executable, "-c", ADDED], check=True, capture_output=True, text=True)
    foreign, own = run.stdout.splitlines()
    assert {name.split(".")[0] for name in foreign.split()} <= sys.stdlib_module_names | {"safetensors"}
    for room in ROOMS:
        assert f"kdvideo.{room}" not in own.split()
