// SPDX-License-Identifier: Apache-2.0
/// Softmax cross entropy and the likeliest token: one block per row of logits.
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

constexpr int row_threads = 512;

/// Greatest logit so far and the sum of e^(logit - greatest). Milakov and Gimelshein, arXiv:1805.02867.
struct Running {
  float greatest;
  float sum;
};

/// d(cap tanh(z / cap)) / dz where cap tanh(z / cap) = x.
DSTRAIN_DEVICE float slope(float x, float cap) {
  const float tanh = x / cap;
  return 1.0F - tanh * tanh;
}

/// A candidate: NaN beats every number, then the greater, then the lower index.
struct Candidate {
  float value;
  std::int32_t index;
};
DSTRAIN_DEVICE bool beats(Candidate a, Candidate b) {
  const bool a_nan = a.value != a.value;
  const bool b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  if (!a_nan && a.value != b.value) return a.value > b.value;
  return a.index < b.index;
}

/// The best of what the threads of a block bring, known to all of them. The lists are written again only behind a
/// barrier.
DSTRAIN_DEVICE Candidate best_of_row(Candidate best, float* values, std::int32_t* indices, int me) {
  values[me] = best.value;
  indices[me] = best.index;
  __syncthreads();
  for (int half = row_threads / 2; half > 0; half /= 2) {
    if (me < half) {
      const Candidate other{values[me + half], indices[me + half]};
      if (beats(other, best)) best = other;
      values[me] = best.value;
      indices[me] = best.index;
    }
    __syncthreads();
  }
  return {values[0], indices[0]};
}

/// (H / 3)^power of the softmax over the largest logits of a row: the block looks for them one by one.
DSTRAIN_DEVICE double entropy_factor(const float* logits, std::int64_t V, float power) {
  DSTRAIN_SHARED(float, values, row_threads);
  DSTRAIN_SHARED(std::int32_t, indices, row_threads);
  const int me = static_cast<int>(threadIdx.x);
  Candidate last{nanf(""), -1};  // beats everything
  float top = 0.0F;
  double sum = 0.0, weighted = 0.0;  // of e^(x - top), and of it times x - top
  for (int k = 0; k < TokenLoss::entropy_logits && k < V; ++k) {
    Candidate best{-INFINITY, 0x7fffffff};
    for (std::int64_t v = me; v < V; v += blockDim.x) {
      const Candidate next{logits[v], static_cast<std::int32_t>(v)};
      if (beats(last, next) && beats(next, best)) best = next;
    }
    last = best_of_row(best, values, indices, me);
    __syncthreads();  // before they are written again
    if (k == 0) top = last.value;
    const double difference = static_cast<double>(last.value) - static_cast<double>(top);
    const double e = exp(difference);
    sum += e;
    if (e > 0.0) weighted += e * difference;
  }
  return pow((log(sum) - weighted / sum) / 3.0, static_cast<double>(power));
}

/// Where the target is behind the vocabulary the loss is NaN: the step that reads it names it. (The CPU throws; here
/// the targets cannot be read before the call returns.)
template <typename S>
__global__ void cross_entropy_kernel(S* dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                                     const float* weight_T, std::int64_t V, std::int64_t ld, float softcap,
                                     TokenLoss loss) {
  const std::int64_t t = blockIdx.x;
  const std::int32_t target = target_T[t];
  const float* logits = logits_TV + t * ld;
  S* gradient = dlogits == nullptr ? nullptr : dlogits + t * ld;
  if (target < 0) {
    if (threadIdx.x == 0) nll_T[t] = 0.0F;
    for (std::int64_t v = threadIdx.x; gradient != nullptr && v < V; v += blockDim.x) narrow(gradient[v], 0.0F);
    return;
  }
  // The lowest number, not -inf: the difference of two -inf would be NaN.
  Running run{-3.402823466e38F, 0.0F};
  for (std::int64_t v = threadIdx.x; v < V; v += blockDim.x) {
    const float x = logits[v];
    if (x > run.greatest) {
      run.sum *= expf(run.greatest - x);
      run.greatest = x;
    }
    run.sum += expf(x - run.greatest);
  }
  const float top = block_combine(run.greatest, Greatest{});
  const float total = block_sum(run.sum * expf(run.greatest - top));
  const bool known = target < V;
  const float at_target = known ? logits[target] : nanf("");
  float logit_sum = 0.0F;
  if (loss.label_smoothing > 0.0F) {
    for (std::int64_t v = threadIdx.x; v < V; v += blockDim.x) logit_sum += logits[v];
    logit_sum = block_sum(logit_sum);
  }
  const double of_entropy = loss.times_entropy ? entropy_factor(logits, V, loss.entropy_power) : 1.0;
  __syncthreads();  // the gradient may be written over the logits
  const double log_total = log(static_cast<double>(total)) + static_cast<double>(top);
  double value = log_total - static_cast<double>(at_target);
  if (loss.label_smoothing > 0.0F) {
    const double e = static_cast<double>(loss.label_smoothing);
    value = (1.0 - e) * value + e * (log_total - static_cast<double>(logit_sum) / static_cast<double>(V));
  }
  const double constant = loss.times_probability ? exp(-value) : of_entropy;
  if (threadIdx.x == 0) nll_T[t] = static_cast<float>(constant * value);
  if (gradient == nullptr) return;
  const float weight = weight_T[t] * static_cast<float>(constant);
  const float factor = weight / total;
  const float spread = loss.label_smoothing / static_cast<float>(V);
  for (std::int64_t v = threadIdx.x; v < V; v += blockDim.x) {
    const float x = logits[v];
    float g = expf(x - top) * factor - weight * spread;
    // From unrounded numbers: p - 1 would lose most digits of a bf16 p near 1.
    if (v == target) g = (expf(x - top) * (1.0F / total) - (1.0F - loss.label_smoothing + spread)) * weight;
    if (softcap > 0.0F) g *= slope(x, softcap);
    narrow(gradient[v], g);
  }
}

template <typename S>
void cross_entropy_as(const Exec& exec, Data dlogits, float* nll, const float* logits, const std::int32_t* target,
                      const float* weight, std::int64_t T, std::int64_t V, std::int64_t ld, float softcap,
                      const TokenLoss& loss) {
  launch(cross_entropy_kernel<S>, exec, {T}, row_threads, 0, dlogits.as<S>(), nll, logits, target, weight, V, ld,
         softcap, loss);
}

__global__ void argmax_kernel(std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
                              std::int64_t V, std::int64_t ld) {
  DSTRAIN_SHARED(float, values, row_threads);
  DSTRAIN_SHARED(std::int32_t, indices, row_threads);
  const std::int64_t t = blockIdx.x;
  const int me = static_cast<int>(threadIdx.x);
  if (target_T[t] < 0) {
    if (me == 0) likeliest_T[t] = -1;
    return;
  }
  const float* logits = logits_TV + t * ld;
  Candidate best{-INFINITY, 0x7fffffff};
  for (std::int64_t v = me; v < V; v += blockDim.x) {
    const Candidate next{logits[v], static_cast<std::int32_t>(v)};
    if (beats(next, best)) best = next;
  }
  best = best_of_row(best, values, indices, me);
  if (me == 0) likeliest_T[t] = best.index;
}

/// One block. Its threads bring the rows to shared memory, two of them add, one row after the other: a tree of sums
/// would be faster and give other bits than the CPU's loop.
__global__ void loss_sums_kernel(double* sums, const float* nll_T, const std::int32_t* target_T, const float* weight_T,
                                 std::int64_t T) {
  DSTRAIN_SHARED(float, nll, row_threads);
  DSTRAIN_SHARED(float, weight, row_threads);
  DSTRAIN_SHARED(std::int32_t, target, row_threads);
  const int me = static_cast<int>(threadIdx.x);
  double sum = 0.0;
  double count = 0.0;
  for (std::int64_t begin = 0; begin < T; begin += row_threads) {
    const std::int64_t t = begin + me;
    target[me] = t < T ? target_T[t] : -1;
    nll[me] = t < T ? nll_T[t] : 0.0F;
    weight[me] = t < T ? weight_T[t] : 0.0F;
    __syncthreads();
    if (me == 0 || me == 32) {  // threads of two warps
      for (int i = 0; i < row_threads; ++i) {
        if (target[i] < 0) continue;
        // The product of two floats is exact in double: contraction changes nothing.
        sum += me == 0 ? static_cast<double>(weight[i]) * static_cast<double>(nll[i]) : static_cast<double>(nll[i]);
        count += 1.0;
      }
    }
    __syncthreads();
  }
  if (me == 0) sums[0] = sum;
  if (me == 32) {
    sums[1] = sum;
    sums[2] = count;
  }
}

}  // namespace

void loss_sums(const Exec& exec, double* sums, const float* nll_T, const std::int32_t* target_T, const float* weight_T,
               std::int64_t T) {
  launch(loss_sums_kernel, exec, {1}, row_threads, 0, sums, nll_T, target_T, weight_T, T);
}

void cross_entropy(const Exec& exec, Data dlogits, float* nll_T, const float* logits_TV, const std::int32_t* target_T,
                   const float* weight_T, std::int64_t T, std::int64_t V, std::int64_t ld, float softcap,
                   const TokenLoss& loss) {
  const int storage = dlogits.data != nullptr ? storage_index(dlogits.dtype, "cross_entropy") : 0;
  DSTRAIN_BY_STORAGE(storage, S,
                     cross_entropy_as<S>(exec, dlogits, nll_T, logits_TV, target_T, weight_T, T, V, ld, softcap, loss));
}

void argmax(const Exec& exec, std::int32_t* likeliest_T, const float* logits_TV, const std::int32_t* target_T,
            std::int64_t T, std::int64_t V, std::int64_t ld) {
  if (V < 1) fail_shape(text_of("argmax over {} logits", V));
  launch(argmax_kernel, exec, {T}, row_threads, 0, likeliest_T, logits_TV, target_T, V, ld);
}

}  // namespace dstrain::DSTRAIN_KERNELS
