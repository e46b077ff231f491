#!/usr/bin/env bash
# The whole campaign: the API server is killed 20 times under 50 informers and 1,000 objects.
# usage: restart_campaign.sh PROGRAM [RESTARTS [INFORMERS [OBJECTS]]]
#   PROGRAM: mizzen_kubernetes_cluster_tests of a build; needs a running cluster, as its tests do.
set -euo pipefail
program=${1:?"usage: restart_campaign.sh PROGRAM [RESTARTS [INFORMERS [OBJECTS]]]"}
export MIZZEN_CAMPAIGN_RESTARTS=${2:-20} MIZZEN_CAMPAIGN_INFORMERS=${3:-50} MIZZEN_CAMPAIGN_OBJECTS=${4:-1000}
exec "$program" --gtest_filter='RestartCampaign.*'
