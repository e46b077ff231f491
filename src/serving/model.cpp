#include <mizzen/core/error.hpp>
#include <mizzen/serving/model.hpp>

#include <utility>

namespace mizzen::serving {
namespace {

using inference::tensor_map;

class function_model final : public model {
 public:
  function_model(model_metadata metadata, std::function<tensor_map(const infer_call&)> function)
      : metadata_(std::move(metadata)), function_(std::move(function)) {}

  const model_metadata& metadata() const noexcept override { return metadata_; }
  tensor_map infer(const infer_call& call) const override { return function_(call); }

 private:
  model_metadata metadata_;
  std::function<tensor_map(const infer_call&)> function_;
};

}  // namespace

std::shared_ptr<const model> make_model(model_metadata metadata,
                                        std::function<tensor_map(const infer_call&)> function) {
  if (!function) throw error(errc::invalid_argument, "function", "a model needs a function");
  return std::make_shared<function_model>(std::move(metadata), std::move(function));
}

}  // namespace mizzen::serving
