// Front door of mizzen::kubernetes: an asynchronous client of the Kubernetes API.
#pragma once

#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/auth.hpp>
#include <mizzen/kubernetes/builders.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/config.hpp>
#include <mizzen/kubernetes/discovery.hpp>
#include <mizzen/kubernetes/dynamic_object.hpp>
#include <mizzen/kubernetes/exec_credential.hpp>
#include <mizzen/kubernetes/explain.hpp>
#include <mizzen/kubernetes/journal.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>
#include <mizzen/kubernetes/manifest.hpp>
#include <mizzen/kubernetes/oidc.hpp>
#include <mizzen/kubernetes/options.hpp>
#include <mizzen/kubernetes/rollout.hpp>
#include <mizzen/kubernetes/scheduling_message.hpp>
#include <mizzen/kubernetes/status.hpp>
#include <mizzen/kubernetes/submission.hpp>
#include <mizzen/kubernetes/table.hpp>
#include <mizzen/kubernetes/validate.hpp>
