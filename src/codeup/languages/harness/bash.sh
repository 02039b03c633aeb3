# Reads the secret, runs the program with its tests, prints the secret if their last line is reached (languages/bash.py).
IFS= read -r secret
exec 3>&1 </dev/null
"$BASH" --norc -n /scratch/main.sh || exit 98
said=$(
  unset secret
  exec 4>&1 1>&3 3>&-
  . /scratch/main.sh
)
code=$?
if [ "$code" = 0 ] && [ "$said" = 'CODEUP_NAME' ]; then
  printf '\n%s 1\n' "$secret"
elif [ "$code" = 0 ]; then
  exit 0
else
  exit 97
fi
