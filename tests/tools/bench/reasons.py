"""Kept by hand: what was found elsewhere, why figures differ from it, and what was tried where a goal is missed."""

# The most that a first half may cost over the clairvoyant optimum, by recording.
GOAL_COSTS = {"wc98": 1.00, "nasa": 1.20, "twitter": 1.60, "wiki": 0.98, "elb": 2.10, "asgcpu": 1.00, "taxi": 0.98,
              "flash": 1.00}
# Where the rivals came out in an independent throw-away simulator by the same rules, on whole recordings: cost over the
# oracle's, and breach and saturation in percent of the time.
STATED = {
    "aws-tt": {"wc98": (.99, 1.4, .03), "nasa": (1.03, 12, 2.6), "twitter": (.97, 8.3, 6.1), "wiki": (1.02, .02, 0),
               "elb": (1.09, 29, 20), "asgcpu": (1.16, 17, 4.9), "taxi": (1.01, .56, 0), "flash": (.99, 1.2, .95)},
    "nomad-tv": {"wc98": (.97, 1.3, .03), "nasa": (.93, 17, 3.8), "twitter": (.85, 9.2, 6.7), "wiki": (.99, .04, 0),
                 "elb": (.68, 46, 34), "asgcpu": (.94, 16, 6.4), "taxi": (.99, .08, 0), "flash": (.98, 1.6, 1.1)},
    "hpa": {"wc98": (.98, 2.2, 0), "nasa": (1.03, 9.4, .8), "twitter": (.99, 6.4, 4.5), "wiki": (.98, 8.4, 0),
            "elb": (1.15, 25, 14), "asgcpu": (1.05, 12, 1.1), "taxi": (.98, 8.2, 0), "flash": (1.00, .58, .46)},
}
# Minutes above 80 % that each four-fold step of `flash` cost there.
STATED_STEPS = {"aws-tt": 16.7, "nomad-tv": 22.7, "hpa": 8.3}

# Why a rival's cost is a hundredth or more away from what is stated, by rival and recording. What differs and has no
# reason here is missed.
WHOLE = "stated of the whole recording, and with a hold on scale-in in place of cooldowns"
EXPLAINED = {
    ("aws-tt", "asgcpu"): WHOLE,
    ("aws-tt", "elb"): WHOLE,
    ("aws-tt", "nasa"): WHOLE,
    ("hpa", "elb"): "1.134 with a sync each step, where the rule says every 15 s; the rest is half of the recording (0033)",
    ("hpa", "nasa"): "1.029 with a sync each step, where the rule says every 15 s (0033)",
}

# What was tried where a recording costs more than its goal: for all of them, and by recording.
TRIED = {
    "": (
        "50 settings of what wariness keeps (`WARINESS`): the best saved 0.7 % over all, but broke nasa's worst week at 180 s, "
        "elb's saturation with 5 % of breach allowed, and weeks with 0.1 %; so it stayed",
        "errors relative to a quarter, a half and twice the usual demand in place of once: 0.2 to 0.7 % dearer (0020)",
        "four patiences in place of three: the same; two: 0.5 % dearer (0023)",
        "aiming at 0.7 of the objective in place of 0.8: 0.4 % dearer; at 0.85: 0.3 % cheaper, and the promise is broken in "
        "more weeks of loads that nothing was chosen by (0025)",
    ),
    "elb": (
        "wariness in steps, and twice as many prices of breach: 2.45 to 2.31 (0023); errors on top of the usual demand: 2.31 "
        "to 2.22 (0020)",
        "counting saturation from 95 % of a minute's mean on: 2 % dearer (0022)",
    ),
    "wc98": (
        "0.8 % of it are the errors on top of the usual demand, which save 4 % on elb and 7 % on twitter (0020); 0.4 % the "
        "rest of wandering loads (0034)",
    ),
    "asgcpu": ("0.1 % of it is the rest of wandering loads (0034)",),
}
