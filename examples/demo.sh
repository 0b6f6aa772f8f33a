#!/usr/bin/env bash
# Record a real script twice, ask it something it never logged, and look at the table.
set -euo pipefail
python=$1
demo=$2
here=$(cd "$(dirname "$0")" && pwd)

rm -rf "$demo"
mkdir -p "$demo"
cp "$here/digits.py" "$here/probes.py" "$demo"
cd "$demo"
git init -q
git add -A
git -c user.name=demo -c user.email=demo@example.org commit -qm "an ordinary training script"

say() {
  printf '\n$ %s\n' "$*"
}
run() {
  say "$@"
  "$python" -m "$@"
}

run flor_trace digits.py --epochs 8
run flor_trace --name wide digits.py --epochs 8 --hidden 512
run flor_trace ls

printf '\n# Which digits does it mix up, and when? Nobody logged that.\n'
run flor_trace replay --yes --probe 'cf_matrix=confusion_matrix(test_labels, predict(model, test_x))'
printf '\n# And the gradient norm of the narrow run, with a function from a file.\n'
run flor_trace replay --yes --probe grad_norm --probe-file probes.py --where 'hidden < 500 and grad_norm.isna()'
run flor_trace pivot hidden epoch train_loss accuracy grad_norm cf_matrix

say "python: the last confusion matrix of the wide run"
"$python" - <<'PY'
import flor_trace as flor
table = flor.full_pivot(flor.log_records())
wide = table[table.hidden == 512].dropna(subset=["cf_matrix"])
print(wide.cf_matrix.iloc[-1].load())
PY
printf '\ngit status is clean but for what the script itself wrote:\n'
git status --short
