// Volumes of a pod, each one expression: `.mount("/data", volumes::claim("training-data"))`.
#pragma once

#include <mizzen/kubernetes/quantity.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::volumes {

// Each volume is named after what it holds (dots become dashes); the same name twice in one pod is
// one volume if it is the same, else an error. named() gives it another name.
core_v1::volume named(std::string name, core_v1::volume volume);

// A PersistentVolumeClaim of the pod's namespace.
core_v1::volume claim(std::string claim, bool read_only = false);

// A folder that lives as long as the pod. Without a size it may fill the node's disk.
core_v1::volume empty_dir(std::string name, std::optional<quantity> size = {});

// Memory as a folder, for /dev/shm: what data loaders and NCCL need more of than the 64 MiB that
// containers get. Counts against the memory limit of the containers.
core_v1::volume shared_memory(std::optional<quantity> size = {});

// The keys of a ConfigMap or Secret as files; with keys, only those.
core_v1::volume config_map(std::string name, std::vector<std::string> keys = {});
core_v1::volume secret(std::string name, std::vector<std::string> keys = {});

// A folder of the node. type: "Directory", "DirectoryOrCreate", "File" …, empty: not checked.
core_v1::volume host_path(std::string name, std::string path, std::string type = {});

// Several sources in one folder; see the functions below.
core_v1::volume projected(std::string name, std::vector<core_v1::volume_projection> sources);
core_v1::volume_projection projected_config_map(std::string name);
core_v1::volume_projection projected_secret(std::string name);
// A token of the pod's service account for the audience, renewed by the kubelet. seconds >= 600.
core_v1::volume_projection projected_token(std::string audience, std::string path,
                                           std::int64_t seconds = 3600);

}  // namespace mizzen::kubernetes::volumes
