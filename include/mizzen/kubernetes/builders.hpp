// Builders of the everyday kinds: each a value whose setters make one expression of a whole object.
//
//   auto train =
//   job{"train"}.image("registry/train:3").command({"./train"}).gpus(2).memory("32Gi"); auto typed
//   = train.build();            // batch_v1::job, checked train.object().spec.suspend = true;    //
//   whatever has no setter
#pragma once

#include <mizzen/kubernetes/builders/container.hpp>
#include <mizzen/kubernetes/builders/job.hpp>
#include <mizzen/kubernetes/builders/pod.hpp>
#include <mizzen/kubernetes/builders/rbac.hpp>
#include <mizzen/kubernetes/builders/resources.hpp>
#include <mizzen/kubernetes/builders/volumes.hpp>
#include <mizzen/kubernetes/builders/workloads.hpp>
