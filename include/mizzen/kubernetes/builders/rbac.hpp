// Who may do what: service accounts, roles and their bindings.
#pragma once

#include <mizzen/kubernetes/builders/object.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/types/rbac_v1.hpp>

#include <string>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// `service_account{"trainer"}.image_pull_secret("hub")`.
class service_account : public object_builder<service_account, core_v1::service_account> {
 public:
  explicit service_account(std::string name) : object_builder(std::move(name)) {}

  service_account& image_pull_secret(std::string name) {
    object_.image_pull_secrets.emplace_back().name = std::move(name);
    return *this;
  }
  service_account& mount_token(bool value) {
    object_.automount_service_account_token = value;
    return *this;
  }
};

// The rules of `role` and `cluster_role`.
template <class Self, class Object>
class role_builder : public object_builder<Self, Object> {
 public:
  // `.allow({"get", "list"}, {"pods", "pods/log"})`; group: "batch", "apps" …, empty: core.
  Self& allow(std::vector<std::string> verbs, std::vector<std::string> resources,
              std::string group = {}) {
    rbac_v1::policy_rule rule;
    rule.verbs = std::move(verbs);
    rule.resources = std::move(resources);
    rule.api_groups.push_back(std::move(group));
    this->object_.rules.push_back(std::move(rule));
    return this->self();
  }

 protected:
  using object_builder<Self, Object>::object_builder;
};

class role : public role_builder<role, rbac_v1::role> {
 public:
  explicit role(std::string name) : role_builder(std::move(name)) {}
};

class cluster_role : public role_builder<cluster_role, rbac_v1::cluster_role> {
 public:
  explicit cluster_role(std::string name) : role_builder(std::move(name)) {}
};

// The subjects of `role_binding` and `cluster_role_binding`.
template <class Self, class Object>
class binding_builder : public object_builder<Self, Object> {
 public:
  Self& to_user(std::string name) { return to("User", std::move(name)); }
  Self& to_group(std::string name) { return to("Group", std::move(name)); }
  Self& to_service_account(std::string name, std::string namespace_) {
    rbac_v1::subject subject;
    subject.kind = "ServiceAccount";
    subject.name = std::move(name);
    subject.namespace_ = std::move(namespace_);
    this->object_.subjects.push_back(std::move(subject));
    return this->self();
  }

 protected:
  binding_builder(std::string name, std::string role_kind, std::string role)
      : object_builder<Self, Object>(std::move(name)) {
    this->object_.role_ref = {.api_group = "rbac.authorization.k8s.io",
                              .kind = std::move(role_kind),
                              .name = std::move(role)};
  }

 private:
  Self& to(std::string kind, std::string name) {
    rbac_v1::subject subject;
    subject.kind = std::move(kind);
    subject.api_group = "rbac.authorization.k8s.io";
    subject.name = std::move(name);
    this->object_.subjects.push_back(std::move(subject));
    return this->self();
  }
};

// `role_binding{"trainer", "job-runner"}.to_service_account("trainer", "ml")`: gives a Role of its
// namespace, or with of_cluster_role() a ClusterRole within its namespace.
class role_binding : public binding_builder<role_binding, rbac_v1::role_binding> {
 public:
  role_binding(std::string name, std::string role)
      : binding_builder(std::move(name), "Role", std::move(role)) {}

  role_binding& of_cluster_role() {
    object_.role_ref.kind = "ClusterRole";
    return *this;
  }
};

class cluster_role_binding
    : public binding_builder<cluster_role_binding, rbac_v1::cluster_role_binding> {
 public:
  cluster_role_binding(std::string name, std::string cluster_role)
      : binding_builder(std::move(name), "ClusterRole", std::move(cluster_role)) {}
};

}  // namespace mizzen::kubernetes
