// An accelerator that is none: PyTorch's device type for other people's hardware, with main memory as its memory and the
// CPU's kernels as its kernels. What PyTorch demands of a program on a real one it demands here: operands on one device,
// generators of its own, an allocator that counts and has a limit, a backward pass in a thread of its own.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/SDPBackend.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace {

constexpr auto kSimulated = c10::DeviceType::PrivateUse1;
const c10::Device kDevice(kSimulated, 0);

// ---------------------------------------------------------------------------------------------------------- memory

// How much each process has allocated, where all processes of a simulated machine see it: a file of slots.
class SharedUse {
 public:
  SharedUse() {
    const char* path = std::getenv("SIMULATED_MEMORY_FILE");
    void* place = MAP_FAILED;
    if (path != nullptr) {
      const int file = ::open(path, O_RDWR | O_CREAT, 0600);
      if (file >= 0 && ::ftruncate(file, sizeof(Slot) * kSlots) == 0) {
        place = ::mmap(nullptr, sizeof(Slot) * kSlots, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      }
      ::close(file);
    }
    slots_ = place == MAP_FAILED ? nullptr : static_cast<Slot*>(place);
  }

  void say(size_t bytes) {
    for (size_t place = 0; slots_ != nullptr && place < kSlots; ++place) {
      int32_t owner = slots_[place].process.load();
      if (owner == ::getpid() || (!lives(owner) && slots_[place].process.compare_exchange_strong(owner, ::getpid()))) {
        slots_[place].bytes.store(bytes);
        return;
      }
    }
  }

  size_t of_others() const {
    size_t bytes = 0;
    for (size_t place = 0; slots_ != nullptr && place < kSlots; ++place) {
      const int32_t owner = slots_[place].process.load();
      bytes += owner != ::getpid() && lives(owner) ? slots_[place].bytes.load() : 0;
    }
    return bytes;
  }

 private:
  static constexpr size_t kSlots = 64;
  struct Slot {
    std::atomic<int32_t> process;
    std::atomic<uint64_t> bytes;
  };
  static bool lives(int32_t process) {
    return process != 0 && ::kill(process, 0) == 0;
  }
  Slot* slots_;
};

// Blocks of 512 bytes as CUDA's allocator hands them out; what was freed stays reserved until the cache is emptied.
class CountingAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    const auto bytes = (size + 511) / 512 * 512;
    const std::lock_guard<std::mutex> guard(lock_);
    if (allocated_ + bytes > available()) {
      TORCH_CHECK_WITH(
          OutOfMemoryError, false, "simulated out of memory. Tried to allocate ", bytes, " bytes; ", allocated_, " of ",
          available(), " are allocated.");
    }
    void* data = bytes == 0 ? nullptr : std::aligned_alloc(512, bytes);
    if (data != nullptr) {
      sizes_[data] = bytes;
    }
    allocated_ += bytes;
    shared_.say(allocated_);
    reserved_ = std::max(reserved_, allocated_);
    allocated_peak_ = std::max(allocated_peak_, allocated_);
    reserved_peak_ = std::max(reserved_peak_, reserved_);
    return {data, data, &CountingAllocator::release, kDevice};
  }

  c10::DeleterFnPtr raw_deleter() const override {
    return &CountingAllocator::release;
  }

  void copy_data(void* destination, const void* source, size_t count) const override {
    std::memcpy(destination, source, count);
  }

  bool initialized() override {
    return true;
  }

  void emptyCache(c10::MempoolId_t = {0, 0}) override {
    const std::lock_guard<std::mutex> guard(lock_);
    reserved_ = allocated_;
  }

  void recordStream(const c10::DataPtr&, c10::Stream) override {}

  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    const std::lock_guard<std::mutex> guard(lock_);
    c10::CachingDeviceAllocator::DeviceStats stats;
    auto& allocated = stats.allocated_bytes[0];
    allocated.current = allocated_;
    allocated.peak = allocated_peak_;
    auto& reserved = stats.reserved_bytes[0];
    reserved.current = reserved_;
    reserved.peak = reserved_peak_;
    return stats;
  }

  void resetAccumulatedStats(c10::DeviceIndex) override {}

  void resetPeakStats(c10::DeviceIndex) override {
    const std::lock_guard<std::mutex> guard(lock_);
    allocated_peak_ = allocated_;
    reserved_peak_ = reserved_;
  }

  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override {
    const std::lock_guard<std::mutex> guard(lock_);
    return {available() - std::min(available(), allocated_), limit()};
  }

 private:
  static size_t limit() {
    const char* given = std::getenv("SIMULATED_MEMORY");
    return given == nullptr ? size_t{8} << 30 : std::strtoull(given, nullptr, 10);
  }

  static void release(void* data);

  size_t available() const {
    return limit() - std::min(limit(), shared_.of_others());
  }

  SharedUse shared_;
  std::mutex lock_;
  std::unordered_map<void*, size_t> sizes_;
  size_t allocated_ = 0, allocated_peak_ = 0, reserved_ = 0, reserved_peak_ = 0;
};

CountingAllocator& allocator() {
  static auto* one = new CountingAllocator();  // outlives every tensor
  return *one;
}

void CountingAllocator::release(void* data) {
  if (data == nullptr) {
    return;
  }
  auto& self = allocator();
  const std::lock_guard<std::mutex> guard(self.lock_);
  self.allocated_ -= self.sizes_.at(data);
  self.sizes_.erase(data);
  self.shared_.say(self.allocated_);
  std::free(data);
}

const bool allocator_is_registered = [] {
  c10::SetAllocator(kSimulated, &allocator());
  return true;
}();

// ------------------------------------------------------------------------------------------------------ generators

// Numbers of its own: what is drawn here leaves the CPU's generator as it was.
class SimulatedGenerator final : public c10::GeneratorImpl {
 public:
  explicit SimulatedGenerator(uint64_t seed)
      : c10::GeneratorImpl(kDevice, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        cpu(at::detail::createCPUGenerator(seed)) {}

  void set_current_seed(uint64_t seed) override {
    cpu.set_current_seed(seed);
  }
  void set_offset(uint64_t offset) override {
    cpu.set_offset(offset);
  }
  uint64_t get_offset() const override {
    return cpu.get_offset();
  }
  uint64_t current_seed() const override {
    return cpu.current_seed();
  }
  uint64_t seed() override {
    return const_cast<at::Generator&>(cpu).seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    cpu.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return cpu.unsafeGetGeneratorImpl()->get_state();
  }

  at::Generator cpu;

 private:
  SimulatedGenerator* clone_impl() const override {
    auto* copy = new SimulatedGenerator(0);
    copy->cpu = cpu.clone();
    return copy;
  }
};

const at::Generator& default_generator() {
  static const at::Generator one = at::make_generator<SimulatedGenerator>(c10::default_rng_seed_val);
  return one;
}

at::Generator cpu_generator_of(const at::Generator& generator) {
  TORCH_CHECK(
      generator.device().type() == kSimulated, "Expected a 'simulated' device type for generator but found '",
      generator.device().type(), "'");
  return static_cast<SimulatedGenerator*>(generator.unsafeGetGeneratorImpl())->cpu;
}

// Some CPU kernels draw from the CPU's default generator without being given one (dropout): for their time it goes on
// where the device's own left off.
class SwappedEngines {
 public:
  explicit SwappedEngines(bool swaps) : swaps_(swaps) {
    swap();
  }
  ~SwappedEngines() {
    swap();
  }
  SwappedEngines(const SwappedEngines&) = delete;
  SwappedEngines& operator=(const SwappedEngines&) = delete;

 private:
  void swap() const {
    if (!swaps_) {
      return;
    }
    auto* ours = at::get_generator_or_default<at::CPUGeneratorImpl>(
        cpu_generator_of(default_generator()), at::detail::getDefaultCPUGenerator());
    auto* cpus = at::get_generator_or_default<at::CPUGeneratorImpl>(
        at::detail::getDefaultCPUGenerator(), at::detail::getDefaultCPUGenerator());
    const auto kept = ours->engine();
    ours->set_engine(cpus->engine());
    cpus->set_engine(kept);
  }
  bool swaps_;
};

// ----------------------------------------------------------------------------------------------- what PyTorch asks

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override {
    return true;
  }
  bool isAvailable() const override {
    return true;
  }
  bool hasPrimaryContext(c10::DeviceIndex) const override {
    return true;
  }
  c10::DeviceIndex deviceCount() const override {
    return 1;
  }
  c10::DeviceIndex getCurrentDevice() const override {
    return 0;
  }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override {
    return 0;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override {
    return 0;
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return default_generator();
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override {
    return at::make_generator<SimulatedGenerator>(c10::default_rng_seed_val);
  }
  c10::Allocator* getPinnedMemoryAllocator() const override {
    return c10::GetAllocator(c10::kCPU);
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    auto data = allocator().allocate(size);
    std::memcpy(data.get(), storage.data(), std::min(size, storage.nbytes()));
    storage.unsafeGetStorageImpl()->set_data_ptr(std::move(data));
    storage.unsafeGetStorageImpl()->set_nbytes(size);
  }
};

struct Guard final : c10::impl::NoOpDeviceGuardImpl<kSimulated> {
  c10::Device exchangeDevice(c10::Device) const override {
    return kDevice;
  }
  c10::Device getDevice() const override {
    return kDevice;
  }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  c10::Stream getNewStream(c10::Device, int) const override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  c10::Stream exchangeStream(c10::Stream) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

const bool hooks_are_registered = [] {
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  return true;
}();

// --------------------------------------------------------------------------------------------------------- kernels

bool is_ours(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kSimulated;
}

void release_storage(void* storage) {
  delete static_cast<c10::Storage*>(storage);
}

// Apple's devices have no double precision.
void check_dtype(c10::ScalarType dtype) {
  static const bool lacks_float64 = std::getenv("SIMULATED_WITHOUT_FLOAT64") != nullptr;
  TORCH_CHECK_TYPE(
      !(lacks_float64 && (dtype == c10::kDouble || dtype == c10::kComplexDouble)),
      "the simulated accelerator has no float64");
}

// The same memory as a tensor of the CPU.
at::Tensor as_cpu(const at::Tensor& tensor) {
  if (tensor.numel() == 0 && tensor.storage().nbytes() == 0) {
    return at::empty(tensor.sizes(), tensor.options().device(c10::kCPU));  // what an operation may resize
  }
  const auto& storage = tensor.storage();
  auto* data = const_cast<void*>(storage.data());
  c10::Storage same(
      c10::Storage::use_byte_size_t(), storage.nbytes(),
      c10::DataPtr(data, new c10::Storage(storage), &release_storage, c10::Device(c10::kCPU)), nullptr, false);
  auto alias = at::detail::make_tensor<c10::TensorImpl>(
      std::move(same), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
  auto* implementation = alias.unsafeGetTensorImpl();
  implementation->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
    implementation->set_wrapped_number(true);
  }
  alias._set_conj(tensor.is_conj());
  alias._set_neg(tensor.is_neg());
  return alias;
}

at::Tensor new_tensor(const at::Tensor& cpu) {
  check_dtype(cpu.scalar_type());
  at::Tensor result = at::detail::empty_strided_generic(
      cpu.sizes(), cpu.strides(), &allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), cpu.scalar_type());
  as_cpu(result).copy_(cpu);
  return result;
}

bool takes_generator(const c10::Type& type) {
  return type.str().find("Generator") != std::string::npos;
}

// One call of an operation: its tensors as the CPU's, and its results as the device's again.
class Call {
 public:
  Call(const c10::OperatorHandle& operation, torch::jit::Stack* stack) : name_(operation.schema().name()) {
    const auto count = operation.schema().arguments().size();
    const auto begin = stack->size() - count;
    for (size_t place = begin; place < stack->size(); ++place) {
      translate((*stack)[place]);
    }
    if (has_ours_) {
      for (const auto& other : others_) {
        TORCH_CHECK(
            other.dim() == 0 || name_ == "aten::index" || name_ == "aten::index_put_" || name_ == "aten::_index_put_impl_",
            "Expected all tensors to be on the same device, but found at least two devices, simulated:0 and ",
            other.device(), "! (when calling ", name_, ")");
      }
    }
    for (size_t place = begin; place < stack->size(); ++place) {
      if ((*stack)[place].isNone() && takes_generator(*operation.schema().arguments()[place - begin].type())) {
        (*stack)[place] = cpu_generator_of(default_generator());
      }
    }
  }

  void take_results(torch::jit::Stack* stack, size_t count) {
    for (auto& [ours, alias] : pairs_) {  // outputs that were resized
      if (!alias.sizes().equals(ours.sizes()) || (ours.numel() == 0) != (alias.numel() == 0)) {
        at::native::resize_(ours, alias.sizes());
        as_cpu(ours).copy_(alias);
      }
    }
    for (size_t place = stack->size() - count; place < stack->size(); ++place) {
      auto& value = (*stack)[place];
      if (value.isTensor() && value.toTensor().defined()) {
        value = result_of(value.toTensor());
      } else if (value.isTensorList()) {
        auto list = value.toTensorVector();
        for (auto& each : list) {
          each = result_of(each);
        }
        value = c10::List<at::Tensor>(list);
      }
    }
  }

 private:
  at::Tensor translated(const at::Tensor& tensor) {
    if (!tensor.defined()) {
      return tensor;
    }
    if (!is_ours(tensor)) {
      others_.push_back(tensor);
      return tensor;
    }
    has_ours_ = true;
    for (const auto& [ours, alias] : pairs_) {
      if (ours.is_same(tensor)) {
        return alias;
      }
    }
    pairs_.emplace_back(tensor, as_cpu(tensor));
    return pairs_.back().second;
  }

  void translate(c10::IValue& value) {
    if (value.isTensor()) {
      value = translated(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const auto& each : value.toTensorVector()) {
        list.push_back(translated(each));
      }
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const auto& each : value.toOptionalTensorVector()) {
        list.push_back(each.has_value() ? std::optional<at::Tensor>(translated(*each)) : std::nullopt);
      }
      value = list;
    } else if (value.isDevice()) {
      value = c10::Device(c10::kCPU);
    } else if (value.isGenerator()) {
      value = cpu_generator_of(value.toGenerator());
    }
  }

  at::Tensor result_of(const at::Tensor& result) {
    for (const auto& [ours, alias] : pairs_) {
      if (alias.is_same(result)) {
        return ours;
      }
    }
    for (const auto& [ours, alias] : pairs_) {
      if (result.has_storage() && result.storage().is_alias_of(alias.storage()) && result.numel() > 0) {
        auto view = at::detail::make_tensor<c10::TensorImpl>(
            c10::TensorImpl::VIEW, c10::Storage(ours.storage()), ours.key_set(), result.dtype());
        view.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides(), result.storage_offset());
        return view;
      }
    }
    return new_tensor(result);
  }

  std::string name_;
  bool has_ours_ = false;
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;
  std::vector<at::Tensor> others_;
};

bool draws_without_generator(const c10::OperatorHandle& operation) {
  for (const auto& argument : operation.schema().arguments()) {
    if (takes_generator(*argument.type())) {
      return false;
    }
  }
  for (const auto& tag : operation.getTags()) {
    if (tag == at::Tag::nondeterministic_seeded) {
      return true;
    }
  }
  return false;
}

void compute_on_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  Call call(operation, stack);
  {
    const SwappedEngines swapped(draws_without_generator(operation));
    operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  call.take_results(stack, operation.schema().returns().size());
}

at::Tensor empty(
    c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>, std::optional<c10::Device>,
    std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  check_dtype(c10::dtype_or_default(dtype));
  return at::detail::empty_generic(
      size, &allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device>, std::optional<bool>) {
  check_dtype(c10::dtype_or_default(dtype));
  return at::detail::empty_strided_generic(
      size, stride, &allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype));
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool) {
  auto target = is_ours(self) ? as_cpu(self) : self;
  target.copy_(is_ours(source) ? as_cpu(source) : source);
  return self;
}

at::Tensor& set_(at::Tensor& self) {
  return self.set_(
      c10::Storage(c10::Storage::use_byte_size_t(), 0, allocator().allocate(0), &allocator(), true), 0, {0}, {});
}

at::Tensor convolution(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, c10::IntArrayRef stride,
    c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed, c10::IntArrayRef output_padding, int64_t groups) {
  const auto own_bias = bias.has_value() && bias->defined() ? std::optional<at::Tensor>(as_cpu(*bias)) : std::nullopt;
  return new_tensor(at::convolution(
      as_cpu(input), as_cpu(weight), own_bias, stride, padding, dilation, transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, c10::IntArrayRef stride,
    c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed, c10::IntArrayRef output_padding, int64_t groups,
    std::array<bool, 3> asked) {
  const int64_t channels = weight.size(transposed ? 1 : 0) * (transposed ? groups : 1);
  auto [of_input, of_weight, of_bias] = at::convolution_backward(
      as_cpu(gradient), as_cpu(input), as_cpu(weight), at::OptionalIntArrayRef({channels}), stride, padding, dilation,
      transposed, output_padding, groups, asked);
  const auto moved = [](const at::Tensor& tensor) { return tensor.defined() ? new_tensor(tensor) : tensor; };
  return {moved(of_input), moved(of_weight), moved(of_bias)};
}

// Attention without the scores kept, as cards have it: by the CPU's kernel for that where it takes what is asked.
int64_t attention_kernel(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& bias,
    double dropout, bool, std::optional<double>, bool) {
  const bool is_taken = dropout == 0.0 && query.dim() == 4 && query.size(1) == key.size(1) &&
      query.size(3) == value.size(3) && !(bias.has_value() && bias->requires_grad());
  return static_cast<int64_t>(is_taken ? at::SDPBackend::overrideable : at::SDPBackend::math);
}

std::optional<at::Tensor> bias_on_cpu(const std::optional<at::Tensor>& bias) {
  return bias.has_value() && bias->defined() ? std::optional<at::Tensor>(as_cpu(*bias)) : std::nullopt;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, c10::SymInt, c10::SymInt, at::Tensor, at::Tensor, at::Tensor>
attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& bias,
    double dropout, bool is_causal, bool, std::optional<double> scale) {
  auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(
      as_cpu(query), as_cpu(key), as_cpu(value), dropout, is_causal, bias_on_cpu(bias), scale);
  return {new_tensor(out), new_tensor(logsumexp), {}, {}, query.sym_size(2), key.sym_size(2), {}, {}, {}};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& gradient, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& bias, std::array<bool, 4>, const at::Tensor& out, const at::Tensor& logsumexp, const at::Tensor&,
    const at::Tensor&, c10::SymInt, c10::SymInt, double dropout, bool is_causal, const at::Tensor&, const at::Tensor&,
    std::optional<double> scale) {
  auto [of_query, of_key, of_value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      as_cpu(gradient), as_cpu(query), as_cpu(key), as_cpu(value), as_cpu(out), as_cpu(logsumexp), dropout, is_causal,
      bias_on_cpu(bias), scale);
  return {new_tensor(of_query), new_tensor(of_key), new_tensor(of_value), {}};
}

// A parameter of the CPU may be given data of this device, as it may be given a GPU's.
bool may_take_data_of(const at::Tensor&, const at::Tensor&) {
  return true;
}

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  m.impl("_has_compatible_shallow_copy_type", &may_take_data_of);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("copy_", &copy_);
  m.impl("_scaled_dot_product_fused_attention_overrideable", &attention);
  m.impl("_scaled_dot_product_fused_attention_overrideable_backward", &attention_backward);
  m.impl("_has_compatible_shallow_copy_type", &may_take_data_of);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", &at::native::view);
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("unfold", &at::native::unfold);
  m.impl("resize_", &at::native::resize_);
  m.impl("set_", &set_);
  m.impl("set_.source_Storage", static_cast<at::Tensor& (*)(at::Tensor&, at::Storage)>(&at::native::set_));
  m.impl("set_.source_Storage_storage_offset", &at::native::set_storage_cpu_);
  m.impl("set_.source_Tensor", &at::native::set_tensor_);
}

}  // namespace

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &attention_kernel)
}

namespace {

// ------------------------------------------------------------------------------------------------- mixed precision

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
#define IN_LOWER_PRECISION(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
  AT_FORALL_LOWER_PRECISION_FP(IN_LOWER_PRECISION)
#define IN_FLOAT32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
  AT_FORALL_FP32(IN_FLOAT32)
#define WITH_FLOAT32_RESULT(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
  AT_FORALL_FP32_SET_OPT_DTYPE(WITH_FLOAT32_RESULT)
#define IN_THE_WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_PROMOTE(IN_THE_WIDEST)
}

// ------------------------------------------------------------------------------------- what its Python module calls

TORCH_LIBRARY(simulated, m) {
  m.def("seed(int seed) -> ()", [](int64_t seed) {
    const_cast<at::Generator&>(default_generator()).set_current_seed(static_cast<uint64_t>(seed));
  });
  m.def("rng_state() -> Tensor", [] { return at::Tensor(default_generator().get_state()); });
  m.def("set_rng_state(Tensor state) -> ()", [](const at::Tensor& state) {
    const_cast<at::Generator&>(default_generator()).set_state(state);
  });
}

}  // namespace
