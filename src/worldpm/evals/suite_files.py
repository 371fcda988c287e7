"""Which files each suite expects, where they come from, and how many comparisons they make.

    FILES["judgebench"].files -> ("data/dataset=judgebench,response_model=*.jsonl",)
    coverage("rewardbench", 2000) -> "2,000 of the 2,985 that the whole of rewardbench makes"

`docs/reference/suites.md` is written from this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Files:
    """`files` are patterns below the suite's folder; `comparisons` is how many the whole set makes.

    `license` is as the authors state it, None where they state none. `met` says how much of the
    real files the reader has been tried on, None where only on small files of the published form.
    """

    title: str
    url: str
    license: str | None
    files: tuple[str, ...]
    comparisons: int
    met: str | None


_HUB = "https://huggingface.co/datasets"
FILES: dict[str, Files] = {
    "llmbar": Files(
        "LLMBar (Zeng et al. 2024)",
        "https://github.com/princeton-nlp/LLMBar",
        "MIT",
        ("Dataset/LLMBar/{Natural,Adversarial/*}/dataset.json",),
        419,
        "whole",
    ),
    "rewardbench": Files(
        "RewardBench v1 (Lambert et al. 2024)",
        f"{_HUB}/allenai/reward-bench",
        "ODC-BY",
        ("filtered*.parquet or filtered*.jsonl", "rewardbench_2k.jsonl with subset.csv"),
        2985,
        "the re-cut of 2,000; the hub's form on small files",
    ),
    "rewardbench2": Files(
        "RewardBench 2 (Malik et al. 2025)",
        f"{_HUB}/allenai/reward-bench-2",
        "ODC-BY",
        ("*.parquet or *.jsonl",),
        1865,
        None,
    ),
    "rm-bench": Files(
        "RM-Bench (Liu et al. 2024)",
        "https://github.com/THU-KEG/RM-Bench",
        "ODC-BY on the hub, none in the repository",
        (
            "{chat,code,math,safety-refuse,safety-response}_filtered.json",
            "or total_dataset.json",
        ),
        1327,
        "798, all but math",
    ),
    "rmb": Files(
        "RMB (Zhou et al. 2024)",
        "https://github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark",
        None,
        ("{Pairwise_set,BoN_set}/{Helpfulness,Harmlessness}/**/*.json",),
        20917,
        "18,329: three pairwise files were absent",
    ),
    "ppe": Files(
        "Preference Proxy Evaluations (Frick et al. 2024)",
        f"{_HUB}/lmarena-ai",
        "prompts CC-BY-4.0, replies by their models' terms",
        (
            "PPE-Human-Preference-V1/**/*.parquet",
            "PPE-{MMLU-Pro,MATH,GPQA,IFEval,MBPP-Plus}-Best-of-K/**/*.parquet",
        ),
        18598,
        None,
    ),
    "judgebench": Files(
        "JudgeBench (Tan et al. 2024)",
        "https://github.com/ScalerLab/JudgeBench",
        None,
        ("data/dataset=judgebench,response_model=*.jsonl",),
        620,
        None,
    ),
    "evalbiasbench": Files(
        "EvalBiasBench (Park et al. 2024)",
        "https://github.com/ncsoft/offsetbias",
        "BSD-3-Clause",
        ("data/evalbiasbench/biasbench.json",),
        80,
        "whole",
    ),
    "offsetbias": Files(
        "OffsetBias (Park et al. 2024)",
        f"{_HUB}/NCSOFT/offsetbias",
        "BSD-3-Clause",
        ("*.json, *.jsonl or *.parquet",),
        8504,
        None,
    ),
    "hhh": Files(
        "HHH alignment (Askell et al. 2021)",
        "https://github.com/google/BIG-bench",
        "Apache-2.0",
        ("hhh_alignment_eval.json",),
        221,
        "whole",
    ),
    "hh-rlhf": Files(
        "hh-rlhf, test splits (Bai et al. 2022)",
        f"{_HUB}/Anthropic/hh-rlhf",
        "MIT",
        ("{harmless,helpful}-*/test.jsonl.gz",),
        8514,
        "whole",
    ),
    "helpsteer2": Files(
        "HelpSteer2, validation (Wang et al. 2024)",
        f"{_HUB}/nvidia/HelpSteer2",
        "CC-BY-4.0",
        ("validation.jsonl.gz",),
        2595,
        None,
    ),
    "reward-math-prm": Files(
        "RewardBench's math-prm, whole (Lightman et al. 2023)",
        f"{_HUB}/allenai/reward-bench",
        "MIT",
        ("rewardbench_Easy_to_hard.json",),
        447,
        "whole",
    ),
}


def coverage(suite: str, comparisons: int) -> str | None:
    """What to say where the comparisons that were read are not those of the whole set."""
    whole = FILES[suite].comparisons
    if comparisons == whole:
        return None
    return f"{comparisons:,} of the {whole:,} that the whole of {suite} makes"
