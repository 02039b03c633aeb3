// In place of CompareNETObjects (languages/csharp.py): values of the same type are equal where all their parts are.
namespace KellermanSoftware.CompareNetObjects
{
    using global::System.Collections;

    public class ComparisonResult
    {
        public bool AreEqual { get; set; }
        public string DifferencesString { get { return AreEqual ? "" : "the values differ"; } }
    }

    public class CompareLogic
    {
        public ComparisonResult Compare(object expected, object actual)
        {
            return new ComparisonResult { AreEqual = Same(expected, actual) };
        }

        static bool Same(object a, object b)
        {
            if (a == null || b == null) return a == null && b == null;
            if (a.GetType() != b.GetType()) return false;
            if (a is string || a.GetType().IsPrimitive || a is decimal) return a.Equals(b);
            if (a is IDictionary) return SameEntries((IDictionary)a, (IDictionary)b);
            if (a is IEnumerable) return SameItems((IEnumerable)a, (IEnumerable)b, IsSet(a.GetType()));
            if (a.GetType().IsEnum || a.GetType().Namespace == "System" && a.GetType().IsValueType && !IsTuple(a)) return a.Equals(b);
            foreach (var property in a.GetType().GetProperties())
                if (property.GetIndexParameters().Length == 0 && !Same(property.GetValue(a), property.GetValue(b))) return false;
            foreach (var field in a.GetType().GetFields())
                if (!field.IsStatic && !Same(field.GetValue(a), field.GetValue(b))) return false;
            return true;
        }

        static bool IsTuple(object a) { return a.GetType().FullName.StartsWith("System.ValueTuple"); }

        static bool IsSet(global::System.Type type)
        {
            foreach (var each in type.GetInterfaces())
                if (each.IsGenericType && each.GetGenericTypeDefinition() == typeof(global::System.Collections.Generic.ISet<>)) return true;
            return false;
        }

        static bool SameEntries(IDictionary a, IDictionary b)
        {
            if (a.Count != b.Count) return false;
            foreach (DictionaryEntry entry in a)
                if (!b.Contains(entry.Key) || !Same(entry.Value, b[entry.Key])) return false;
            return true;
        }

        static bool SameItems(IEnumerable a, IEnumerable b, bool anyOrder)
        {
            var left = new ArrayList();
            foreach (var item in b) left.Add(item);
            int count = 0;
            foreach (var item in a)
            {
                if (count >= left.Count && !anyOrder) return false;
                int place = count;
                if (anyOrder) for (place = 0; place < left.Count && !Same(item, left[place]); place++) { }
                if (place >= left.Count || !Same(item, left[place])) return false;
                if (anyOrder) left.RemoveAt(place); else count++;
            }
            return count == left.Count;
        }
    }
}
