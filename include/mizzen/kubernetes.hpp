// Front door of mizzen::kubernetes: an asynchronous client of the Kubernetes API.
#pragma once

#include <mizzen/kubernetes/status.hpp>
